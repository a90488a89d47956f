# SPDX-License-Identifier: BSD-3-Clause
"""The pages: an address in, HTML out. Nothing here changes anything but who is logged in."""

from __future__ import annotations

import hmac
import logging
from http import HTTPStatus
from typing import Any

from flask import Blueprint, Response, current_app, redirect, request
from werkzeug.exceptions import HTTPException
from werkzeug.wrappers import Response as AnyResponse

from shifter_common.errors import InvalidReferenceError
from shifter_common.reference import ImageReference
from shifter_imagegw.config import GatewayConfig, SystemConfig
from shifter_imagegw.errors import GatewayError, NotPermittedError, SystemNotFoundError
from shifter_imagegw.rules import access
from shifter_imagegw.rules.browsing import Browsing
from shifter_imagegw.rules.visits import SESSION_FOR, Visit, Visits
from shifter_imagegw.web import listing, live
from shifter_imagegw.web.addresses import KINDS, Addresses, content_of
from shifter_imagegw.web.headers import secured
from shifter_imagegw.web.jobs import job_of
from shifter_imagegw.web.rendering import Renderer

log = logging.getLogger(__name__)

_COOKIE = "shifter_session"
_STATIC_SECONDS = 365 * 86400  # the address of a file that has changed is another


def web_page(config: GatewayConfig, visits: Visits, browsing: Browsing) -> Blueprint:
    """The routes of the page, below `/web/`, and of its files, below `/web/-/`."""
    pages = Blueprint("web", __name__, template_folder="templates")
    addresses = Addresses(config)
    renderer = Renderer(addresses, is_only_system=len(config.systems) == 1)
    pages.after_request(secured)

    def system_of(name: str) -> SystemConfig:
        try:
            return config.systems[name]
        except KeyError:
            raise SystemNotFoundError(f"this gateway does not serve a system {name!r}") from None

    def visit_of(name: str) -> Visit:
        return visits.of(system_of(name), request.cookies.get(_COOKIE))

    def shown_to(name: str) -> Visit:
        """The visit, if there is anything to be seen for it."""
        visit = visit_of(name)
        if not visits.may_look(visit):
            raise _NotLoggedInError(visit)
        return visit

    @pages.before_app_request
    def lead_browsers_home() -> AnyResponse | None:
        """Clients of the original get from `/` what they always got."""
        if request.path == "/" and "text/html" in request.headers.get("Accept", ""):
            return redirect(addresses.home(), HTTPStatus.SEE_OTHER)
        return None

    @pages.get("/web/")
    def systems() -> AnyResponse:
        if len(config.systems) == 1:
            (only,) = config.systems.values()
            return redirect(addresses.of(only), HTTPStatus.SEE_OTHER)
        targets = [(name, addresses.of(system)) for name, system in sorted(config.systems.items())]
        return renderer.page("systems", None, systems=targets)

    @pages.get("/web/<system>/")
    def images(system: str) -> AnyResponse:
        visit = shown_to(system)
        query = listing.Query.of(request.args)
        records = browsing.images(visit)
        own_uid = visit.caller.uid if visit.caller is not None else None
        return renderer.page(
            "images",
            visit,
            query=query,
            listing=listing.select(records, query, own_uid),
            types=listing.types_of(records),
            sorts=listing.SORTS,
            link=lambda **changes: f"?{query.link(**changes)}",
        )

    @pages.get("/web/<system>/image/<image_type>/<tag:tag>")
    def image(system: str, image_type: str, tag: str) -> AnyResponse:
        visit = shown_to(system)
        reference = ImageReference.checked(image_type, tag)
        record = browsing.image(visit, reference)
        caller = visit.caller
        return renderer.page(
            "image",
            visit,
            kind=reference.image_type,
            name=reference.tag,
            reference=str(reference),
            record=record,
            may_change=caller and access.may_expire(record, caller, visit.system),
        )

    @pages.get("/web/<system>/queue")
    def queue(system: str) -> AnyResponse:
        visit = shown_to(system)
        return renderer.page("queue", visit, **jobs_for(visit))

    @pages.get("/web/<system>/queue/rows")
    def rows(system: str) -> AnyResponse:
        """The part of the page that changes, for its script."""
        visit = shown_to(system)
        return renderer.page("jobs", visit, **jobs_for(visit))

    @pages.get("/web/<system>/queue/events")
    def events(system: str) -> AnyResponse:
        """The same part, again whenever it has changed."""
        visit = shown_to(system)
        watch = live.Watch(
            number=lambda: browsing.queue(visit.system).number,
            render=lambda: renderer.text("jobs", visit, **jobs_for(visit)),
        )
        return live.answer(watch, current_app)

    def jobs_for(visit: Visit) -> dict[str, Any]:
        records = browsing.jobs(browsing.queue(visit.system), visit)
        jobs = [job_of(record, visit) for record in records]
        return {
            "running": [job for job in jobs if job.reason is None],
            "failed": [job for job in reversed(jobs) if job.reason is not None],
        }

    @pages.get("/web/<system>/login")
    def login(system: str) -> AnyResponse:
        visit = visit_of(system)
        is_open = visits.may_look(Visit(system=visit.system, caller=None))
        return renderer.page("login", visit, is_open=is_open)

    @pages.get("/web/<system>/enter")
    def enter(system: str) -> AnyResponse:
        where = system_of(system)
        if request.method == "HEAD":  # who only looks whether the link is one has not come yet
            return Response(content_type="text/html")
        session = visits.enter(where, request.args.get("ticket", ""))
        # No redirect: where another site's page holds the link, the browser would follow that
        # without the cookie, as it is for requests of this site's own.
        response = renderer.page("entered", visits.of(where, session))
        response.set_cookie(
            _COOKIE,
            session,
            max_age=SESSION_FOR,
            path=addresses.of(where),
            secure=addresses.is_secure() or request.is_secure,
            httponly=True,
            samesite="Strict",
        )
        return response

    @pages.post("/web/<system>/leave")
    def leave(system: str) -> AnyResponse:
        visit = visit_of(system)
        word = request.form.get("word", "")
        if visit.caller is not None and not hmac.compare_digest(
            word.encode(), visit.leaving_word.encode()
        ):
            raise NotPermittedError("only the page itself can log you out: use its button")
        response = redirect(addresses.of(visit.system), HTTPStatus.SEE_OTHER)
        response.delete_cookie(_COOKIE, path=addresses.of(visit.system), httponly=True)
        return response

    @pages.get("/web/-/<name>")
    def static(name: str) -> AnyResponse:
        if name not in KINDS:
            raise _NoSuchPageError(f"there is no file {name[:80]!r}")
        response = Response(content_of(name), content_type=KINDS[name])
        response.headers["Cache-Control"] = f"public, max-age={_STATIC_SECONDS}, immutable"
        return response

    @pages.get("/web/<system>/<path:page>")
    def nothing(system: str, page: str) -> AnyResponse:
        raise _NoSuchPageError(f"there is no page {page[:80]!r}")

    @pages.errorhandler(_NotLoggedInError)
    def ask_to_log_in(error: _NotLoggedInError) -> AnyResponse:
        if request.endpoint in ("web.rows", "web.events"):
            return Response(status=HTTPStatus.UNAUTHORIZED)
        return redirect(addresses.of(error.visit.system, "login"), HTTPStatus.SEE_OTHER)

    @pages.errorhandler(GatewayError)
    def refuse(error: GatewayError) -> AnyResponse:
        return _refusal(error.status, str(error))

    @pages.errorhandler(InvalidReferenceError)
    def refuse_reference(error: InvalidReferenceError) -> AnyResponse:
        return _refusal(HTTPStatus.NOT_FOUND, str(error))

    @pages.errorhandler(HTTPException)
    def refuse_request(error: HTTPException) -> AnyResponse:
        return _refusal(error.code or 500, f"there is no page {request.path[:80]!r}")

    @pages.errorhandler(Exception)
    def confess(error: Exception) -> AnyResponse:
        log.exception("page met a defect path=%r", request.path, exc_info=error)
        return _refusal(500, "the gateway met an error that it did not expect; its log tells more")

    def _refusal(status: int, sentence: str) -> AnyResponse:
        system = config.systems.get(str((request.view_args or {}).get("system")))
        visit = None if system is None else visit_of(system.name)
        return renderer.refusal(status, sentence, visit)

    return pages


class _NotLoggedInError(GatewayError):
    """The site shows nothing to those it does not know."""

    status = 401

    def __init__(self, visit: Visit) -> None:
        super().__init__("log in to see this")
        self.visit = visit


class _NoSuchPageError(GatewayError):
    status = 404
