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

import json
from typing import Any

from flask import Blueprint, Response, current_app, request
from werkzeug.exceptions import MethodNotAllowed, RequestEntityTooLarge

from shifter_common.reference import ImageReference
from shifter_imagegw.api.request_body import RequestBody
from shifter_imagegw.config import SystemConfig
from shifter_imagegw.errors import BadRequestError, BodyTooLongError
from shifter_imagegw.records import ImageRecord, PullState
from shifter_imagegw.rules.auth import Authenticator, Caller
from shifter_imagegw.rules.imports import ImportSource
from shifter_imagegw.rules.service import Service
from shifter_imagegw.rules.visits import Visits
from shifter_imagegw.web.addresses import Addresses

_LOOKUPS_SHOWN = 10
_MOST_LOOKUPS = 10_000
_STATS_DAYS = 30

# Clients of the original wait while they are told a state they know; any other ends the waiting.
_SHOWN_AS = {PullState.HASHING: PullState.PULLING, PullState.EXPIRING: PullState.PENDING}

api = Blueprint("api", __name__)


@api.get("/")
def root() -> Response:
    return Response("{lookup,pull,expire,list}", content_type="text/plain; charset=utf-8")


@api.get("/api/health/")
def health() -> Response:
    _service().check_health()
    return _answer({"status": "ok"})


@api.get("/api/lookup/<system>/<image_type>/<tag:tag>/")
@api.get("/api/image/<system>/<image_type>/<tag:tag>/")
def lookup(system: str, image_type: str, tag: str) -> Response:
    where = _service().system(system)
    reader = _reader(where)
    reference = ImageReference.checked(image_type, tag)
    return _answer(_service().lookup(where, reference, reader).to_wire())


@api.get("/api/list/<system>/")
def list_images(system: str) -> Response:
    where = _service().system(system)
    records = _service().list_images(where, _reader(where))
    return _answer({"list": [record.to_wire() for record in records]})


@api.get("/api/queue/<system>/")
def queue(system: str) -> Response:
    where = _service().system(system)
    records = _service().list_queue(where, _caller(where))
    return _answer({"list": [_queued(record) for record in records]})


@api.post("/api/pull/<system>/<image_type>/<tag:tag>/")
def pull(system: str, image_type: str, tag: str) -> Response:
    where = _service().system(system)
    caller = _caller(where)
    reference = ImageReference.checked(image_type, tag)
    return _progress(_service().pull(where, reference, caller, _body().acl()))


@api.post("/api/doimport/<system>/<image_type>/<tag:tag>/")
def doimport(system: str, image_type: str, tag: str) -> Response:
    where = _service().system(system)
    caller = _caller(where)
    reference = ImageReference.checked(image_type, tag)
    body = _body()
    source = ImportSource.checked(body.text("filepath"), body.text("format"))
    return _progress(_service().import_image(where, reference, caller, source, body.acl()))


@api.route("/api/expire/<system>/<image_type>/<tag:tag>/", methods=["GET", "POST"])
@api.delete("/api/image/<system>/<image_type>/<tag:tag>/")
def expire(system: str, image_type: str, tag: str) -> Response:
    _refuse_head()
    where = _service().system(system)
    caller = _caller(where)
    _service().expire(where, ImageReference.checked(image_type, tag), caller)
    return _answer({"status": True})


@api.route("/api/autoexpire/<system>/", methods=["GET", "POST"])
def autoexpire(system: str) -> Response:
    _refuse_head()
    where = _service().system(system)
    return _answer({"status": _service().expire_unused(where, _caller(where))})


@api.get("/api/metrics/<system>/")
def metrics(system: str) -> Response:
    where = _service().system(system)
    caller = _caller(where)
    lookups = _service().list_lookups(
        where, caller, _number("limit", _LOOKUPS_SHOWN, _MOST_LOOKUPS)
    )
    return _answer([lookup.to_wire() for lookup in lookups])


@api.get("/api/stats/<system>/")
def stats(system: str) -> Response:
    where = _service().system(system)
    return _answer(_service().stats(where, _caller(where), _number("days", _STATS_DAYS)))


@api.get("/api/users/<system>/")
def users(system: str) -> Response:
    where = _service().system(system)
    return _answer({"list": _service().list_users(where, _caller(where))})


@api.post("/api/web/<system>/")
def web(system: str) -> Response:
    where = _service().system(system)
    visits: Visits = current_app.extensions["shifter_visits"]
    addresses: Addresses = current_app.extensions["shifter_addresses"]
    ticket = visits.invite(where, _caller(where))
    url = addresses.entrance(where, ticket.text, request.host_url)
    return _answer({"url": url, "expires": ticket.expires})


def _service() -> Service:
    service: Service = current_app.extensions["shifter_service"]
    return service


def _authenticator() -> Authenticator:
    authenticator: Authenticator = current_app.extensions["shifter_authenticator"]
    return authenticator


def _caller(system: SystemConfig) -> Caller:
    return _authenticator().caller(request.headers.get("authentication"), system)


def _reader(system: SystemConfig) -> Caller | None:
    return _authenticator().caller_if_any(request.headers.get("authentication"), system)


def _answer(content: object) -> Response:
    body = json.dumps(content, separators=(",", ":"))
    return Response(body, content_type="application/json")


def _queued(record: ImageRecord) -> dict[str, Any]:
    return {
        "status": record.state.value,
        "image": record.pull_tag,
        "puller": record.puller,
        "status_message": record.status_message,
        "bytes_done": record.bytes_done,
        "bytes_total": record.bytes_total,
    }


def _progress(record: ImageRecord) -> Response:
    """A record as those see it who ask again until it has ended."""
    shown = _SHOWN_AS.get(record.state, record.state)
    return _answer(record.to_wire() | {"status": shown.value})


def _number(name: str, default: int, most: int = 99_999_999) -> int:
    text = request.args.get(name, str(default))
    if not (text.isascii() and text.isdecimal() and len(text) < 9 and int(text) <= most):
        raise BadRequestError(f"{name} must be a number up to {most}, not {text[:80]!r}")
    return int(text)


def _refuse_head() -> None:
    """HEAD asks what GET would answer; where GET changes something it would change it too."""
    if request.method == "HEAD" and request.url_rule is not None:
        raise MethodNotAllowed(valid_methods=(request.url_rule.methods or set()) - {"HEAD"})


def _body() -> RequestBody:
    too_long = BodyTooLongError("the request's body is too long")
    try:
        text = request.get_data(cache=False)
    except RequestEntityTooLarge:
        raise too_long from None
    # Of a body that comes in chunks, without a length, no more than this is read.
    if len(text) >= current_app.config["MAX_CONTENT_LENGTH"]:
        raise too_long
    return RequestBody(text)
