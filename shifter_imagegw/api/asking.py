# SPDX-License-Identifier: BSD-3-Clause
"""What views have in common: who asks, for what, and how an answer is written."""

from __future__ import annotations

import json

from flask import Response, current_app, request
from werkzeug.exceptions import MethodNotAllowed, RequestEntityTooLarge

from shifter_imagegw.api.request_body import RequestBody
from shifter_imagegw.config import SystemConfig
from shifter_imagegw.errors import BadRequestError, BodyTooLongError
from shifter_imagegw.records import ImageRecord, PullState
from shifter_imagegw.rules.auth import Authenticator, Caller
from shifter_imagegw.rules.service import Service

# Clients of the original wait while they are told a state they know; any other ends the waiting.
_SHOWN_AS = {PullState.HASHING: PullState.PULLING, PullState.EXPIRING: PullState.PENDING}


def service() -> Service:
    found: Service = current_app.extensions["shifter_service"]
    return found


def caller(system: SystemConfig) -> Caller:
    return _authenticator().caller(request.headers.get("authentication"), system)


def reader(system: SystemConfig) -> Caller | None:
    return _authenticator().caller_if_any(request.headers.get("authentication"), system)


def answer(content: object) -> Response:
    text = json.dumps(content, separators=(",", ":"))
    return Response(text, content_type="application/json")


def progress(record: ImageRecord) -> Response:
    """A record as those see it who ask again until it has ended."""
    shown = _SHOWN_AS.get(record.state, record.state)
    return answer(record.to_wire() | {"status": shown.value} | record.layers_to_wire())


def number(name: str, *, default: int, most: int = 99_999_999, least: int = 0) -> int:
    """A number in the query: how many of something are asked for."""
    text = request.args.get(name, str(default))
    is_number = text.isascii() and text.isdecimal() and len(text) < 9
    if not (is_number and least <= int(text) <= most):
        from_least = f"from {least} " if least else ""
        raise BadRequestError(
            f"{name} must be a number {from_least}up to {most}, not {text[:80]!r}"
        )
    return int(text)


def refuse_head() -> None:
    """HEAD asks what GET would answer; where GET changes something it would change it too."""
    if request.method == "HEAD" and request.url_rule is not None:
        raise MethodNotAllowed(valid_methods=(request.url_rule.methods or set()) - {"HEAD"})


def body() -> RequestBody:
    too_long = BodyTooLongError("the request's body is too long")
    try:
        text = request.get_data(cache=False)
    except RequestEntityTooLarge:
        raise too_long from None
    # Of a body that comes in chunks, without a length, no more than this is read.
    if len(text) >= current_app.config["MAX_CONTENT_LENGTH"]:
        raise too_long
    return RequestBody(text)


def _authenticator() -> Authenticator:
    authenticator: Authenticator = current_app.extensions["shifter_authenticator"]
    return authenticator
