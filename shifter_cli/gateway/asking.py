# SPDX-License-Identifier: BSD-3-Clause
"""Asking image gateways: which of them, with what proof, and what their refusals mean."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import urllib.parse
from collections.abc import Callable, Mapping, Sequence

from shifter_cli.errors import (
    GatewayAnswerError,
    GatewayRefusalError,
    GatewayTooOldError,
    GatewayUnreachableError,
    SettingsError,
)
from shifter_cli.gateway.exchange import Answer, Download, cause, exchange, open_download
from shifter_common.reference import ImageReference

# How a gateway of the original, and one of ours, says that it has no such route.
_NO_SUCH_ROUTE = ("Requested URL ", "there is no route ")


class Gateways:
    """Speaks to the first of several gateways that works.

    `encode` makes a munge credential of a payload; a credential is good for one request.
    `logins` are the user's registry logins for an image, `{location: "user:password"}`; they
    travel inside the credential and only where a registry is asked. `timeout` is for a whole
    request, in seconds, 0 for none. `watch` sees every answer.
    """

    def __init__(
        self,
        urls: Sequence[str],
        system: str,
        *,
        encode: Callable[[bytes], str],
        timeout: float = 0.0,
        logins: Callable[[ImageReference], Mapping[str, str]] = lambda _: {},
        watch: Callable[[Answer], None] = lambda _: None,
    ) -> None:
        if not urls:
            raise SettingsError(
                "no image gateway is known: the administrator has to set imageGateway "
                "in udiRoot.conf"
            )
        if not system:
            raise SettingsError("the administrator has to set system in udiRoot.conf")
        # In random order, so that no gateway gets all the clients.
        self._urls = sorted(urls, key=lambda _: os.urandom(4))
        self._system = system
        self._encode = encode
        self._timeout = timeout
        self._logins = logins
        self._watch = watch

    def _path(self, verb: str, reference: ImageReference | None = None) -> str:
        parts = ["api", verb, self._system]
        if reference is not None:
            parts += [reference.image_type, reference.tag]
        return "/" + "".join(urllib.parse.quote(part, safe="") + "/" for part in parts)

    def _ask_any(
        self,
        method: str,
        failing: str,
        path: str,
        *,
        body: bytes = b"",
        payload: bytes = b"",
        support_may_help: bool = True,
    ) -> Answer:
        """What the first gateway says that is neither silent nor broken."""
        return self._first_answer(
            failing,
            lambda url: exchange(url, method, path, self._encode(payload), body, self._timeout),
            support_may_help=support_may_help,
        )

    def _download(self, failing: str, path: str, start: int) -> Download:
        """A file from `start` on, of which the answer says how much that is."""
        answer = self._first_answer(
            failing, lambda url: open_download(url, path, self._encode(b""), start)
        )
        assert isinstance(answer, Download)  # all others are refusals
        return answer

    def _first_answer(
        self, failing: str, attempt: Callable[[str], Answer], *, support_may_help: bool = True
    ) -> Answer:
        """Go from gateway to gateway until one is neither silent nor broken."""
        silent = []
        broken: Answer | None = None
        for url in tuple(self._urls):
            try:
                answer = attempt(url)
            except (OSError, http.client.HTTPException) as error:
                silent.append(f"{url}: {cause(error)}")
                continue
            self._watch(answer)
            if answer.status < 500:
                self._prefer(url)
                _require_success(answer, failing, support_may_help)
                return answer
            broken = answer
        if broken is not None:
            _require_success(broken, failing)
        raise GatewayUnreachableError(
            f"failed to contact the image gateway. {'; '.join(silent)}; if this lasts, "
            "tell the site's support"
        )

    def _prefer(self, url: str) -> None:
        self._urls.remove(url)
        self._urls.insert(0, url)


def _require_success(answer: Answer, failing: str, support_may_help: bool = True) -> None:
    if answer.status == 200 or isinstance(answer, Download):
        return
    reason = _reason(answer)
    if not reason:
        raise GatewayRefusalError(f"{failing}: {_without_words(answer)}", answer.status)
    if answer.status in (404, 405) and reason.startswith(_NO_SUCH_ROUTE):
        raise GatewayTooOldError(
            f"{failing}: the image gateway {answer.url} is too old for that; ask the site's "
            "support to update it",
            answer.status,
        )
    message = f"{failing}: {reason}"
    if answer.status == 401 and "munge" not in message:
        message += " (munge credential not accepted: check this machine's munge key and clock)"
    elif answer.status == 403 and support_may_help:
        message += " (ask the site's support if you should be allowed to)"
    elif answer.status >= 500:
        message += f" (HTTP status {answer.status} from {answer.url})"
    raise GatewayRefusalError(message, answer.status)


def _reason(answer: Answer) -> str:
    """The gateway's own sentence; nothing where it has none."""
    with contextlib.suppress(GatewayAnswerError):
        fields = mapping_of(answer)
        for key in ("error", "message"):
            text = fields.get(key)
            if isinstance(text, str) and text and text != "None":
                return text
    return ""


def _without_words(answer: Answer) -> str:
    """Something between here and the gateway said it, or a gateway that is broken."""
    text = f"the image gateway {answer.url} answered {answer.status} {answer.reason}"
    if answer.status >= 500:
        return f"{text}; if this lasts, tell the site's support"
    return f"{text} and no more: does imageGateway in udiRoot.conf name an image gateway?"


def mapping_of(answer: Answer) -> Mapping[str, object]:
    try:
        value = json.loads(answer.text)
    except (ValueError, RecursionError):
        value = None
    if not isinstance(value, dict):
        raise GatewayAnswerError(
            f"the image gateway {answer.url} answered {answer.text[:40]!r}, which is not a JSON "
            "object: does imageGateway in udiRoot.conf name an image gateway?"
        )
    return value


def list_of(answer: Answer) -> list[Mapping[str, object]]:
    fields = mapping_of(answer)
    items = fields.get("list", fields.get("data"))
    if not isinstance(items, list):
        raise GatewayAnswerError(f"the image gateway {answer.url} answered without a list")
    return [item for item in items if isinstance(item, dict)]


def payload_of(locations: Mapping[str, str]) -> bytes:
    if not locations:
        return b""
    return json.dumps({"authorized_locations": dict(locations)}, separators=(",", ":")).encode()
