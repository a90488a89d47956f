# SPDX-License-Identifier: BSD-3-Clause
"""The REST interface: HTTP in, JSON out.

Paths, fields and types are the original's. Its clients want a content type of exactly
`application/json` and an exact Content-Length, and take any other status than 200 as a failure.

Where the original answered 200 to an expire request that it refused (`{"status": false}`) or could
not find (`null`), this gateway answers 403 or 404, so that its clients exit with 1, not with 0.
"""

from __future__ import annotations

import json
from typing import Any

from flask import Blueprint, Response, current_app, request
from werkzeug.exceptions import RequestEntityTooLarge

from shifter_common.reference import ImageReference
from shifter_imagegw.auth import Authenticator, Caller
from shifter_imagegw.config import SystemConfig
from shifter_imagegw.errors import BadRequestError, NotInReleaseError
from shifter_imagegw.records import Acl, ImageRecord
from shifter_imagegw.service import Service

_HIGHEST_ID = 2**32 - 2  # the last one means "no such user" to the kernel
_MOST_IDS = 1000  # what the runtime of the original reads in one list

api = Blueprint("api", __name__)


@api.get("/")
def root() -> Response:
    return Response("{lookup,pull,expire,list}", content_type="text/plain; charset=utf-8")


@api.get("/api/health/")
def health() -> Response:
    _service().check_health()
    return _answer({"status": "ok"})


@api.get("/api/lookup/<system>/<image_type>/<tag:tag>/")
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
    return _answer(_service().pull(where, reference, caller, _asked_acl()).to_wire())


@api.route("/api/expire/<system>/<image_type>/<tag:tag>/", methods=["GET", "POST"])
def expire(system: str, image_type: str, tag: str) -> Response:
    where = _service().system(system)
    caller = _caller(where)
    _service().expire(where, ImageReference.checked(image_type, tag), caller)
    return _answer({"status": True})


@api.get("/api/autoexpire/<system>/")
def autoexpire(system: str) -> Response:
    raise _not_in_release(system, "autoexpire")


@api.get("/api/metrics/<system>/")
def metrics(system: str) -> Response:
    raise _not_in_release(system, "metrics")


@api.post("/api/doimport/<system>/<image_type>/<tag:tag>/")
def doimport(system: str, image_type: str, tag: str) -> Response:
    raise _not_in_release(system, "doimport")


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


def _not_in_release(system: str, route: str) -> NotInReleaseError:
    _caller(_service().system(system))
    return NotInReleaseError(f"{route} is not in this release")


def _asked_acl() -> Acl:
    body = _body()
    return Acl(users=_ids(body, "allowed_uids"), groups=_ids(body, "allowed_gids"))


def _body() -> dict[str, Any]:
    """The JSON object of a request; the original's client sends an empty body for an empty one."""
    try:
        text = request.get_data(cache=False)
    except RequestEntityTooLarge:
        raise BadRequestError("the request's body is too long") from None
    if not text:
        return {}
    try:
        content = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise BadRequestError(f"the request's body is not JSON: {error}") from error
    if not isinstance(content, dict):
        raise BadRequestError("the request's body must be a JSON object")
    return content


def _ids(body: dict[str, Any], key: str) -> tuple[int, ...]:
    """Numeric ids, as text with commas between them (the original's form) or as a JSON list."""
    value = body.get(key)
    if value is None or value == "":
        return ()
    items = value.split(",") if isinstance(value, str) else value
    if not isinstance(items, list):
        raise BadRequestError(f"{key} must be numbers with commas between them, not {value!r}")
    ids = tuple(dict.fromkeys(_id(key, item) for item in items))
    if len(ids) > _MOST_IDS:
        raise BadRequestError(f"{key} holds {len(ids)} numbers, at most {_MOST_IDS} are allowed")
    return ids


def _id(key: str, item: object) -> int:
    text = str(item).strip()
    if not (text.isascii() and text.isdecimal() and len(text) < 11 and int(text) <= _HIGHEST_ID):
        raise BadRequestError(f"{key} must be numbers with commas between them, not {item!r}")
    return int(text)
