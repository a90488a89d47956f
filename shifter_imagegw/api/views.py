# SPDX-License-Identifier: BSD-3-Clause
"""The REST interface: HTTP in, JSON out.

Paths, fields and types are the original's. Its clients want a content type of exactly
`application/json` and an exact Content-Length, and take any other status than 200 as a failure.

Where the original answered 200 to an expire or autoexpire request that it refused
(`{"status": false}`) or could not find (`null`), this gateway answers 403 or 404, so that its
clients exit with 1, not with 0.

Beside the original's GET requests that change something there are forms that say so:
`POST /api/expire/…` and `DELETE /api/image/…` for an image, `POST /api/autoexpire/…`. `GET
/api/image/…` is a lookup.
"""

from __future__ import annotations

from flask import Blueprint, Response, current_app, request

from shifter_common.reference import ImageReference
from shifter_imagegw.api import asking
from shifter_imagegw.rules.imports import ImportSource
from shifter_imagegw.rules.visits import Visits
from shifter_imagegw.web.addresses import Addresses

_LOOKUPS_SHOWN = 10
_MOST_LOOKUPS = 10_000
_STATS_DAYS = 30

api = Blueprint("api", __name__)


@api.get("/")
def root() -> Response:
    return Response("{lookup,pull,expire,list}", content_type="text/plain; charset=utf-8")


@api.get("/api/health/")
def health() -> Response:
    asking.service().check_health()
    return asking.answer({"status": "ok"})


@api.get("/api/lookup/<system>/<image_type>/<tag:tag>/")
@api.get("/api/image/<system>/<image_type>/<tag:tag>/")
def lookup(system: str, image_type: str, tag: str) -> Response:
    where = asking.service().system(system)
    reader = asking.reader(where)
    reference = ImageReference.checked(image_type, tag)
    return asking.answer(asking.service().lookup(where, reference, reader).to_wire())


@api.get("/api/list/<system>/")
def list_images(system: str) -> Response:
    where = asking.service().system(system)
    records = asking.service().list_images(where, asking.reader(where))
    return asking.answer({"list": [record.to_wire() for record in records]})


@api.post("/api/pull/<system>/<image_type>/<tag:tag>/")
def pull(system: str, image_type: str, tag: str) -> Response:
    where = asking.service().system(system)
    caller = asking.caller(where)
    reference = ImageReference.checked(image_type, tag)
    return asking.progress(asking.service().pull(where, reference, caller, asking.body().acl()))


@api.post("/api/doimport/<system>/<image_type>/<tag:tag>/")
def doimport(system: str, image_type: str, tag: str) -> Response:
    where = asking.service().system(system)
    caller = asking.caller(where)
    reference = ImageReference.checked(image_type, tag)
    body = asking.body()
    source = ImportSource.checked(body.text("filepath"), body.text("format"))
    return asking.progress(
        asking.service().import_image(where, reference, caller, source, body.acl())
    )


@api.route("/api/expire/<system>/<image_type>/<tag:tag>/", methods=["GET", "POST"])
@api.delete("/api/image/<system>/<image_type>/<tag:tag>/")
def expire(system: str, image_type: str, tag: str) -> Response:
    asking.refuse_head()
    where = asking.service().system(system)
    caller = asking.caller(where)
    asking.service().expire(where, ImageReference.checked(image_type, tag), caller)
    return asking.answer({"status": True})


@api.route("/api/autoexpire/<system>/", methods=["GET", "POST"])
def autoexpire(system: str) -> Response:
    asking.refuse_head()
    where = asking.service().system(system)
    return asking.answer({"status": asking.service().expire_unused(where, asking.caller(where))})


@api.get("/api/metrics/<system>/")
def metrics(system: str) -> Response:
    where = asking.service().system(system)
    caller = asking.caller(where)
    lookups = asking.service().list_lookups(
        where, caller, asking.number("limit", default=_LOOKUPS_SHOWN, most=_MOST_LOOKUPS)
    )
    return asking.answer([lookup.to_wire() for lookup in lookups])


@api.get("/api/stats/<system>/")
def stats(system: str) -> Response:
    where = asking.service().system(system)
    caller = asking.caller(where)
    days = asking.number("days", default=_STATS_DAYS)
    return asking.answer(asking.service().stats(where, caller, days))


@api.get("/api/users/<system>/")
def users(system: str) -> Response:
    where = asking.service().system(system)
    return asking.answer({"list": asking.service().list_users(where, asking.caller(where))})


@api.post("/api/web/<system>/")
def web(system: str) -> Response:
    where = asking.service().system(system)
    visits: Visits = current_app.extensions["shifter_visits"]
    addresses: Addresses = current_app.extensions["shifter_addresses"]
    ticket = visits.invite(where, asking.caller(where))
    url = addresses.entrance(where, ticket.text, request.host_url)
    return asking.answer({"url": url, "expires": ticket.expires})
