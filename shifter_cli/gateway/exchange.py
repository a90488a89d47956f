# SPDX-License-Identifier: BSD-3-Clause
"""One request over HTTP, on a connection of its own, and what a gateway said to it."""

from __future__ import annotations

import contextlib
import dataclasses
import http.client
import time
import urllib.parse
from collections.abc import Iterator, Mapping

from shifter_cli.errors import SettingsError

# A machine that is gone answers nothing at all: the next gateway must get its turn.
_CONNECT_SECONDS = 20.0
_READ_BYTES = 1 << 16
_DOWNLOAD_BYTES = 1 << 20
_STALLED_SECONDS = 60.0  # without a byte of a download
_LONGEST_REFUSAL = 1 << 16


@dataclasses.dataclass(frozen=True)
class Answer:
    """What one gateway said, before anybody tries to understand it."""

    url: str
    status: int
    reason: str
    text: str
    date: str = ""  # by the gateway's clock, as HTTP writes it


@dataclasses.dataclass(frozen=True, kw_only=True)
class Download(Answer):
    """An answer whose bytes are still to be read; to be closed."""

    connection: http.client.HTTPConnection
    response: http.client.HTTPResponse

    def header(self, name: str) -> str:
        return self.response.headers.get(name, "")

    def pieces(self) -> Iterator[bytes]:
        """The bytes as they come; raises `OSError` or `HTTPException` where they break off."""
        while piece := self.response.read1(_DOWNLOAD_BYTES):
            yield piece
        if self.response.length:
            raise http.client.IncompleteRead(b"", self.response.length)

    def close(self) -> None:
        self.response.close()
        self.connection.close()


def exchange(
    url: str, method: str, path: str, credential: str, body: bytes, timeout: float
) -> Answer:
    """One request on a connection of its own, as the original's client does."""
    deadline = time.monotonic() + timeout if timeout else None
    with contextlib.closing(_connection(url, timeout)) as connection:
        connection.connect()
        socket = connection.sock  # the answer may take it away from the connection
        socket.settimeout(_left(deadline))
        headers = {"authentication": credential} if credential else {}
        _send(connection, url, method, path, headers, body)
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


def open_download(url: str, path: str, credential: str, start: int) -> Answer:
    """Ask for the bytes of a file from `start` on; a `Download`, or the refusal."""
    connection = _connection(url, 0.0)
    try:
        connection.connect()
        connection.sock.settimeout(_STALLED_SECONDS)
        headers = {"authentication": credential}
        if start:
            headers["Range"] = f"bytes={start}-"
        _send(connection, url, "GET", path, headers)
        response = connection.getresponse()
        if response.status in (200, 206):
            return Download(
                url=url,
                status=response.status,
                reason=response.reason,
                text="",
                connection=connection,
                response=response,
            )
        text = response.read(_LONGEST_REFUSAL).decode("utf-8", "replace")
    except BaseException:
        connection.close()
        raise
    connection.close()
    return Answer(url, response.status, response.reason, text)


def _send(
    connection: http.client.HTTPConnection,
    url: str,
    method: str,
    path: str,
    headers: Mapping[str, str],
    body: bytes = b"",
) -> None:
    base = _split(url)
    connection.putrequest(method, base.path.rstrip("/") + path, skip_accept_encoding=True)
    connection.putheader("Accept", "*/*")
    for name, value in headers.items():
        connection.putheader(name, value)
    if method == "POST":
        connection.putheader("Content-type", "application/json")
        connection.putheader("Content-Length", str(len(body)))
    connection.endheaders(body or None)


def _connection(url: str, timeout: float) -> http.client.HTTPConnection:
    base = _split(url)
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
    if isinstance(error, http.client.RemoteDisconnected):
        return "it ended the connection without an answer"
    if isinstance(error, http.client.HTTPException):
        return "it did not answer as a web server does"
    words = getattr(error, "verify_message", None) or getattr(error, "strerror", None)
    return str(words or error or type(error).__name__)
