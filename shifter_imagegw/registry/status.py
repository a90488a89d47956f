# SPDX-License-Identifier: BSD-3-Clause
"""An HTTP status that is not success, in a sentence."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from shifter_imagegw.registry import document, media_types
from shifter_imagegw.registry.errors import RegistryError, TooManyRequestsError, cleaned
from shifter_imagegw.registry.transport import Answer

_LARGEST_ERROR = 64 << 10  # bytes
_PASSING = frozenset({408, 425, 429, 500, 502, 503, 504})


def status_error(
    answer: Answer, what: str, advice: str, kind: type[RegistryError] = RegistryError
) -> RegistryError:
    """`what` with the status, the server's own words, and `advice`; retriable by its status."""
    words = _words_of(answer)
    said = f", {words}" if words else ""
    if answer.status == 429:
        kind, advice = TooManyRequestsError, "its limit of requests is reached, try again later"
    return kind(
        f"{what} (HTTP {answer.status}{said}): {advice}",
        retriable=answer.status in _PASSING,
        retry_after=answer.retry_after(),
    )


def _words_of(answer: Answer) -> str:
    """The registry's error code and message; its HTML pages say nothing to a user."""
    content_type = media_types.of_header(answer.headers.get("Content-Type"))
    if content_type == "text/html":
        return ""
    try:
        body = answer.read_all(_LARGEST_ERROR, "an error text")
    except RegistryError:
        return ""
    try:
        return cleaned(_of_document(document.load(body, "an error text")))
    except RegistryError:
        return cleaned(body.decode("utf-8", "replace")) if content_type == "text/plain" else ""


def _of_document(said: Mapping[str, Any]) -> str:
    errors = said.get("errors")
    first = errors[0] if isinstance(errors, list) and errors else said
    if not isinstance(first, dict):
        return ""
    # The token servers of some registries say `details` or `error_description`.
    message = first.get("message") or first.get("details") or first.get("error_description")
    code = first.get("code") or first.get("error")
    return ": ".join(str(part) for part in (code, message) if isinstance(part, (str, int)))
