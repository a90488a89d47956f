# SPDX-License-Identifier: BSD-3-Clause
"""One request over HTTP, on a connection of its own, and what a gateway said to it."""

from __future__ import annotations

import contextlib
import dataclasses
import http.client
import time
import urllib.parse

from shifter_cli.errors import SettingsError

# A machine that is gone answers nothing at all: the next gateway must get its turn.
_CONNECT_SECONDS = 20.0
_READ_BYTES = 1 << 16


@dataclasses.dataclass(frozen=True)
class Answer:
    """What one gateway said, before anybody tries to understand it."""

    url: str
    status: int
    reason: str
    text: str
    date: str = ""  # by the gateway's clock, as HTTP writes it


def exchange(
    url: str, method: str, path: str, credential: str, body: bytes, timeout: float
) -> Answer:
    """One request on a connection of its own, as the original's client does."""
    base = _split(url)
    deadline = time.monotonic() + timeout if timeout else None
    with contextlib.closing(_connection(url, base, timeout)) as connection:
        connection.connect()
        socket = connection.sock  # the answer may take it away from the connection
        connection.putrequest(method, base.path.rstrip("/") + path, skip_accept_encoding=True)
        connection.putheader("Accept", "*/*")
        if credential:
            connection.putheader("authentication", credential)
        if method == "POST":
            connection.putheader("Content-type", "application/json")
            connection.putheader("Content-Length", str(len(body)))
        socket.settimeout(_left(deadline))
        connection.endheaders(body or None)
        response = connection.getresponse()
        pieces = []
        while response.length != 0 and not response.isclosed():
            socket.settimeout(_left(deadline))
            pieces.append(response.read1(_READ_BYTES))
        if response.length:
            raise http.client.IncompleteRead(b"", response.length)
        text = b"".join(pieces).decode("utf-8", "replace")
        date = response.getheader("Date") or ""
        return Answer(url, response.status, response.reason, text, date)


def _connection(
    url: str, base: urllib.parse.SplitResult, timeout: float
) -> http.client.HTTPConnection:
    seconds = min(timeout, _CONNECT_SECONDS) if timeout else _CONNECT_SECONDS
    try:
        host, port = base.hostname, base.port
    except ValueError:
        host, port = None, None
    if host is None or base.scheme not in ("http", "https"):
        raise _no_url(url)
    if base.scheme == "https":
        return http.client.HTTPSConnection(host, port, timeout=seconds)
    return http.client.HTTPConnection(host, port, timeout=seconds)


def _split(url: str) -> urllib.parse.SplitResult:
    try:
        return urllib.parse.urlsplit(url)
    except ValueError:
        raise _no_url(url) from None


def _no_url(url: str) -> SettingsError:
    return SettingsError(f"imageGateway {url!r} in udiRoot.conf is no http:// or https:// URL")


def _left(deadline: float | None) -> float | None:
    if deadline is None:
        return None
    left = deadline - time.monotonic()
    if left <= 0:
        raise TimeoutError
    return left


def cause(error: Exception) -> str:
    """What went wrong on the way, in the system's words."""
    if isinstance(error, TimeoutError):
        return "no answer in time"
    if isinstance(error, http.client.IncompleteRead):
        return "the answer broke off"
    words = getattr(error, "verify_message", None) or getattr(error, "strerror", None)
    return str(words or error or type(error).__name__)
