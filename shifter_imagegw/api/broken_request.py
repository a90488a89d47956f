# SPDX-License-Identifier: BSD-3-Clause
"""What is answered to bytes that are no HTTP request: JSON, as to every other refused request.

gunicorn finds them before the application does, and would answer in HTML.
"""

from __future__ import annotations

import json
from http import HTTPStatus

from gunicorn.http import errors

_TOO_LONG = "a header is too long, or there are too many"

# The more special classes first. gunicorn's own words hold what was sent, credentials included.
_REFUSALS: tuple[tuple[type[Exception], HTTPStatus, str], ...] = (
    (errors.LimitRequestLine, HTTPStatus.REQUEST_URI_TOO_LONG, "the request's path is too long"),
    (errors.LimitRequestHeaders, HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE, _TOO_LONG),
    (errors.ExpectationFailed, HTTPStatus.EXPECTATION_FAILED, "what it expects is not known here"),
    (
        errors.UnsupportedTransferCoding,
        HTTPStatus.NOT_IMPLEMENTED,
        "its transfer coding is not known here: send a length, or chunks",
    ),
    (errors.InvalidRequestMethod, HTTPStatus.BAD_REQUEST, "its method is not of HTTP"),
    (errors.InvalidHTTPVersion, HTTPStatus.BAD_REQUEST, "its version of HTTP is not known here"),
    (errors.InvalidHeaderName, HTTPStatus.BAD_REQUEST, "a header's name is not of HTTP"),
    (errors.ObsoleteFolding, HTTPStatus.BAD_REQUEST, "a header goes on in a second line"),
    (errors.InvalidHeader, HTTPStatus.BAD_REQUEST, "a header's value is not of HTTP"),
    (errors.ParseException, HTTPStatus.BAD_REQUEST, "it is not as HTTP has it"),
)


def is_one(error: BaseException) -> bool:
    """Whether the client is to blame; headers of ours that are broken are no such case."""
    ours = (errors.InvalidResponseHeader, errors.InvalidResponseHeaderName)
    return isinstance(error, errors.ParseException) and not isinstance(error, ours)


def answer_to(error: BaseException) -> tuple[HTTPStatus, bytes]:
    """The status, and the whole answer as it goes over the wire."""
    status, reason = next(
        (status, reason) for kind, status, reason in _REFUSALS if isinstance(error, kind)
    )
    content = {
        "status": int(status),
        "error": f"the gateway does not understand the request: {reason}",
        "message": status.phrase,
    }
    body = json.dumps(content, separators=(",", ":")).encode()
    head = (
        f"HTTP/1.1 {int(status)} {status.phrase}\r\n"
        "Connection: close\r\n"
        "Content-Type: application/json\r\n"
        f"Content-Length: {len(body)}\r\n"
        "\r\n"
    )
    return status, head.encode("ascii") + body
