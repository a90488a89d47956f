# SPDX-License-Identifier: BSD-3-Clause
"""The pages: an address in, HTML out. Nothing here changes anything but who is logged in."""

from __future__ import annotations

import time
from http import HTTPStatus
from typing import Any
from urllib.parse import quote

from flask import Blueprint, Response, redirect, request
from werkzeug.wrappers import Response as AnyResponse

from shifter_common.reference import ImageReference
from shifter_imagegw.api import asking
from shifter_imagegw.config import GatewayConfig
from shifter_imagegw.operation.recent import Recent
from shifter_imagegw.rules import access
from shifter_imagegw.rules.browsing import Browsing
from shifter_imagegw.rules.visits import Visit, Visits
from shifter_imagegw.web import charts, listing, live
from shifter_imagegw.web.addresses import KINDS, Addresses, content_of
from shifter_imagegw.web.entrance import Entrance
from shifter_imagegw.web.headers import secured
from shifter_imagegw.web.jobs import job_of
from shifter_imagegw.web.refusals import NoSuchPageError, Refusals
from shifter_imagegw.web.rendering import Renderer

_DAYS = 30
_DONE_SECONDS = 3600
_DONE_SHOWN = 8
_STATS_SECONDS = 30.0  # for which the history is not read again
_SPANS = ((7, "Week"), (30, "Month"), (90, "Quarter"), (365, "Year"))
_STATIC_SECONDS = 365 * 86400  # the address of a file that has changed is another


def web_page(config: GatewayConfig, visits: Visits, browsing: Browsing) -> Blueprint:
    """The routes of the page and of its files, all below `/web/`."""
    routes = Blueprint("web", __name__)
    addresses = Addresses(config)
    renderer = Renderer(
        addresses, is_only_system=len(config.systems) == 1, is_open=config.allow_anonymous
    )
    entrance = Entrance(config, visits, addresses, renderer)
    pages = Pages(config, browsing, addresses, renderer, entrance)
    for address, view in (
        ("", pages.systems),
        ("<system>/", pages.images),
        ("<system>/image/<image_type>/<tag:tag>", pages.image),
        ("<system>/queue", pages.queue),
        ("<system>/queue/rows", pages.rows),
        ("<system>/queue/events", pages.events),
        ("<system>/usage", pages.usage),
        ("<system>/login", entrance.login),
        ("<system>/enter", entrance.door),
        ("<system>/<path:page>", pages.nothing),
        ("-/<name>", pages.static),
    ):
        routes.get(f"/web/{address}")(view)
    routes.post("/web/<system>/enter")(entrance.enter)
    routes.post("/web/<system>/leave")(entrance.leave)
    Refusals(addresses, entrance, renderer).register(routes)
    routes.before_app_request(pages.lead_browsers_here)
    routes.after_request(secured)
    return routes


class Pages:
    """What is to be seen, for those who may see it."""

    def __init__(
        self,
        config: GatewayConfig,
        browsing: Browsing,
        addresses: Addresses,
        renderer: Renderer,
        entrance: Entrance,
    ) -> None:
        self._config = config
        self._browsing = browsing
        self._addresses = addresses
        self._page = renderer.page
        self._text = renderer.text
        self._admitted = entrance.admitted
        self._still = entrance.still
        self._histories: dict[tuple[str, int, bool], Recent[dict[str, Any]]] = {}

    def lead_browsers_here(self) -> AnyResponse | None:
        """Clients of the original get from `/` what they always got."""
        if request.path == "/" and "text/html" in request.headers.get("Accept", ""):
            return redirect(self._addresses.home(), HTTPStatus.SEE_OTHER)
        return None

    def systems(self) -> AnyResponse:
        systems = sorted(self._config.systems.items())
        targets = [(name, self._addresses.of(system)) for name, system in systems]
        if len(targets) == 1:
            return redirect(targets[0][1], HTTPStatus.SEE_OTHER)
        return self._page("systems", None, systems=targets)

    def images(self, system: str) -> AnyResponse:
        if not request.path.endswith("/"):  # browsers show the cookie below that path alone
            search = f"?{request.query_string.decode('latin-1')}" if request.query_string else ""
            return redirect(f"{quote(system, safe='')}/{search}", HTTPStatus.SEE_OTHER)
        visit = self._admitted(system)
        query = listing.Query.of(request.args)
        records = self._browsing.images(visit)
        return self._page(
            "images",
            visit,
            query=query,
            listing=listing.select(
                records, query, None if visit.caller is None else visit.caller.uid
            ),
            types=listing.types_of(records),
            sorts=listing.SORTS,
            link=lambda **changes: f"?{query.link(**changes)}",
        )

    def image(self, system: str, image_type: str, tag: str) -> AnyResponse:
        visit = self._admitted(system)
        reference = ImageReference.checked(image_type, tag)
        inspections = asking.service().inspections
        return self._page(
            "image",
            visit,
            reference=reference,
            image=inspections.inspect(visit.system, reference, visit.caller),
        )

    def queue(self, system: str) -> AnyResponse:
        visit = self._admitted(system)
        return self._page("queue", visit, **self._jobs(visit))

    def rows(self, system: str) -> AnyResponse:
        """The part of the queue's page that changes, for its script."""
        visit = self._admitted(system)
        return self._page("jobs", visit, **self._jobs(visit))

    def events(self, system: str) -> AnyResponse:
        """The same part, again whenever it has changed."""
        visit = self._admitted(system)
        watch = live.Watch(
            goes_on=self._still(visit),
            change=lambda: self._browsing.change(visit.system),
            render=lambda: self._text("jobs", visit, **self._jobs(visit)),
        )
        return live.answer(watch)

    def usage(self, system: str) -> AnyResponse:
        visit = self._admitted(system)
        most = self._config.usage.days
        spans = [(count, name) for count, name in _SPANS if count <= most]
        asked = request.args.get("days", "")
        days = next((count for count, _ in spans if str(count) == asked), min(_DAYS, most))
        found = self._stats(visit, days)
        return self._page(
            "usage",
            visit,
            days=found["days"],
            spans=spans,
            charts=charts.charts_of(found["days"]),
            edges=charts.edges(found["days"]),
            height=charts.HEIGHT,
            step=charts.STEP,
            top_images=found["top_images"],
            top_users=found["top_users"],
            targets=self._targets(visit),
        )

    def static(self, name: str) -> AnyResponse:
        if name not in KINDS:
            raise NoSuchPageError(f"there is no file {name[:80]!r}")
        response = Response(content_of(name), content_type=KINDS[name])
        response.headers["Cache-Control"] = f"public, max-age={_STATIC_SECONDS}, immutable"
        return response

    def nothing(self, system: str, page: str) -> AnyResponse:
        raise NoSuchPageError(f"there is no page {page[:80]!r}")

    def _jobs(self, visit: Visit) -> dict[str, Any]:
        records = self._browsing.jobs(self._browsing.queue(visit.system), visit)
        jobs = [job_of(record, visit) for record in records]
        return {
            "running": [job for job in jobs if job.reason is None],
            "failed": [job for job in reversed(jobs) if job.reason is not None],
            "done": self._browsing.pulled_since(visit, time.time() - _DONE_SECONDS)[:_DONE_SHOWN],
        }

    def _stats(self, visit: Visit, days: int) -> dict[str, Any]:
        """The history; it is the same for all administrators, and for all others."""
        caller = visit.caller
        if caller is not None and not access.is_admin(caller, visit.system):
            caller = None
        key = (visit.system.name, days, caller is None)
        if key not in self._histories:
            self._histories[key] = Recent(
                lambda: asking.service().stats(visit.system, caller, days), _STATS_SECONDS
            )
        return self._histories[key]()

    def _targets(self, visit: Visit) -> dict[str, str]:
        """The page of each name of an image."""
        return {
            f"{record.image_type}:{tag}": self._addresses.image(visit.system, record, tag)
            for record in self._browsing.images(visit)
            for tag in record.tags
        }
