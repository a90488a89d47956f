# SPDX-License-Identifier: BSD-3-Clause
"""Coming and going: a link lets a browser in, a cookie keeps it in, a button lets it out."""

from __future__ import annotations

import hmac
from http import HTTPStatus

from flask import Response, redirect, request
from werkzeug.wrappers import Response as AnyResponse

from shifter_imagegw.config import GatewayConfig, SystemConfig
from shifter_imagegw.errors import GatewayError, NotPermittedError, SystemNotFoundError
from shifter_imagegw.rules.visits import SESSION_FOR, Visit, Visits
from shifter_imagegw.web.addresses import Addresses
from shifter_imagegw.web.rendering import Renderer

_COOKIE = "shifter_session"


class NotLoggedInError(GatewayError):
    """The site shows nothing to those it does not know."""

    status = 401

    def __init__(self, visit: Visit) -> None:
        super().__init__("log in to see this")
        self.visit = visit


class Entrance:
    """Knows visitors by the cookie that it gave them; each system has its own."""

    def __init__(
        self, config: GatewayConfig, visits: Visits, addresses: Addresses, renderer: Renderer
    ) -> None:
        self._config = config
        self._visits = visits
        self._addresses = addresses
        self._renderer = renderer

    def visit(self, system: str) -> Visit:
        return self._visits.of(self._system(system), request.cookies.get(_COOKIE))

    def admitted(self, system: str) -> Visit:
        """The visit, if there is anything to be seen for it."""
        visit = self.visit(system)
        if not self._visits.may_look(visit):
            raise NotLoggedInError(visit)
        return visit

    def login(self, system: str) -> AnyResponse:
        """How to come by a link."""
        visit = self.visit(system)
        is_open = self._visits.may_look(Visit(system=visit.system, caller=None))
        return self._renderer.page("login", visit, is_open=is_open)

    def enter(self, system: str) -> AnyResponse:
        where = self._system(system)
        if request.method == "HEAD":  # who only looks whether there is a page has not come yet
            return Response(content_type="text/html")
        if "prefetch" in request.headers.get("Sec-Purpose", ""):  # nor has who may come soon
            return Response(status=HTTPStatus.SERVICE_UNAVAILABLE)
        session = self._visits.enter(where, request.args.get("ticket", ""))
        # No redirect: where another site's page holds the link, the browser would follow that
        # without the cookie, as it is for requests of this site's own.
        response = self._renderer.page("entered", self._visits.of(where, session))
        response.set_cookie(
            _COOKIE,
            session,
            max_age=SESSION_FOR,
            path=self._addresses.of(where),
            secure=self._addresses.is_secure() or request.is_secure,
            httponly=True,
            samesite="Strict",
        )
        return response

    def leave(self, system: str) -> AnyResponse:
        visit = self.visit(system)
        word = request.form.get("word", "").encode()
        if visit.caller is not None and not hmac.compare_digest(word, visit.leaving_word.encode()):
            raise NotPermittedError("only the page itself can log you out: use its button")
        start = self._addresses.of(visit.system)
        response = redirect(start, HTTPStatus.SEE_OTHER)
        response.delete_cookie(_COOKIE, path=start, httponly=True)
        return response

    def _system(self, name: str) -> SystemConfig:
        try:
            return self._config.systems[name]
        except KeyError:
            raise SystemNotFoundError(f"this gateway does not serve a system {name!r}") from None
