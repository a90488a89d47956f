# SPDX-License-Identifier: BSD-3-Clause
"""Coming and going: a link and a button let a browser in, a cookie keeps it in, a button ends that.

Whoever looks at the link, a chat that shows what is behind it or a browser that loads it in
advance, has not come yet: only the button of that page uses it up. The page gives the browser a
word to show again with it, so that no other site's page can have somebody come as somebody else.
"""

from __future__ import annotations

import hmac
import re
import secrets
from collections.abc import Callable
from datetime import timedelta
from http import HTTPStatus

from flask import redirect, request
from werkzeug.wrappers import Response as AnyResponse

from shifter_imagegw.config import GatewayConfig, SystemConfig
from shifter_imagegw.errors import GatewayError, NotPermittedError, SystemNotFoundError
from shifter_imagegw.rules.visits import SESSION_FOR, TICKET_FOR, Visit, Visits
from shifter_imagegw.web.addresses import Addresses
from shifter_imagegw.web.rendering import Renderer

_COOKIE = "shifter_session"
_WORD_COOKIE = "shifter_entering"
_WORD = re.compile("[0-9a-f]{32}")


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

    def door(self, system: str) -> AnyResponse:
        """Who a link lets in, and the button that does it."""
        where = self._system(system)
        ticket = request.args.get("ticket", "")
        caller = self._visits.invited(where, ticket)
        word = request.cookies.get(_WORD_COOKIE, "")
        if not _WORD.fullmatch(word):
            word = secrets.token_hex(16)
        response = self._renderer.page(
            "enter", Visit(system=where, caller=None), uid=caller.uid, ticket=ticket, word=word
        )
        self._keep(response, _WORD_COOKIE, word, self._addresses.of(where, "enter"), TICKET_FOR)
        return response

    def enter(self, system: str) -> AnyResponse:
        where = self._system(system)
        known = request.cookies.get(_WORD_COOKIE, "")
        if not known or not _is_same(request.form.get("word", ""), known):
            raise NotPermittedError(
                "only the page itself can log you in, by a cookie: allow cookies for it, and open "
                "the link again"
            )
        session = self._visits.enter(where, request.form.get("ticket", ""))
        start = self._addresses.of(where)
        response = redirect(start, HTTPStatus.SEE_OTHER)
        self._keep(response, _COOKIE, session, start, SESSION_FOR)
        return response

    def leave(self, system: str) -> AnyResponse:
        visit = self.visit(system)
        if visit.caller is not None:
            if not _is_same(request.form.get("word", ""), visit.leaving_word):
                raise NotPermittedError("only the page itself can log you out: use its button")
            self._visits.end(visit)
        start = self._addresses.of(visit.system)
        response = redirect(start, HTTPStatus.SEE_OTHER)
        response.delete_cookie(_COOKIE, path=start, httponly=True)
        return response

    def still(self, visit: Visit) -> Callable[[], bool]:
        """Asks whether the visit of this request goes on, also once the request is answered."""
        session = request.cookies.get(_COOKIE)
        return lambda: self._visits.of(visit.system, session).caller == visit.caller

    def _keep(
        self, response: AnyResponse, name: str, value: str, path: str, duration: timedelta
    ) -> None:
        response.set_cookie(
            name,
            value,
            max_age=duration,
            path=path,
            secure=self._addresses.is_secure() or request.is_secure,
            httponly=True,
            samesite="Strict",
        )

    def _system(self, name: str) -> SystemConfig:
        try:
            return self._config.systems[name]
        except KeyError:
            raise SystemNotFoundError(f"this gateway does not serve a system {name!r}") from None


def _is_same(word: str, known: str) -> bool:
    return hmac.compare_digest(word.encode(), known.encode())
