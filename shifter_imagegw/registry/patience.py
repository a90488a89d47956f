# SPDX-License-Identifier: BSD-3-Clause
"""How long a server may dawdle.

A socket's time limit is for each packet. A server that sends a byte a minute, or headers, chunk
sizes or trailers without end, keeps within it for ever; so each step has a limit as a whole, and
what comes has to come at a speed at which a download would end.
"""

from __future__ import annotations

import http.client
import io
import socket
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING

import urllib3.connectionpool

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

_SLOWEST = 1024  # bytes a second, on average while a packet's time limit is waited for

Pools = dict[str, type[urllib3.connectionpool.HTTPConnectionPool]]


class TooSlowError(TimeoutError):
    """The server sends, but in no reasonable time."""


class _PatientFile(io.RawIOBase):
    """The socket's bytes, as long as they come in time."""

    def __init__(self, raw: io.RawIOBase, patience: float | None) -> None:
        self._raw = raw
        self._patience = patience  # seconds; None for ever
        self._until = 0.0  # monotonic seconds
        self._waited = 0.0
        self._came = 0
        self.begin_step()

    def begin_step(self) -> None:
        if self._patience is not None:
            self._until = time.monotonic() + self._patience

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: WriteableBuffer, /) -> int | None:
        if self._patience is None:
            return self._raw.readinto(buffer)
        began = time.monotonic()
        if began > self._until:
            raise TooSlowError("it sends without coming to an end")
        count = self._raw.readinto(buffer)
        self._measure(time.monotonic() - began, count or 0, self._patience)
        return count

    def close(self) -> None:
        self._raw.close()
        super().close()

    def _measure(self, waited: float, came: int, patience: float) -> None:
        self._waited += waited
        self._came += came
        if self._waited < patience:
            return
        if self._came < _SLOWEST * self._waited:
            raise TooSlowError(f"it sends less than {_SLOWEST} bytes a second")
        self._waited, self._came = 0.0, 0


class _PatientResponse(http.client.HTTPResponse):
    """A step is the head as a whole, and each piece of the body."""

    def __init__(
        self,
        sock: socket.socket,
        debuglevel: int = 0,
        method: str | None = None,
        url: str | None = None,
    ) -> None:
        super().__init__(sock, debuglevel, method, url)
        self._file = _PatientFile(self.fp.detach(), sock.gettimeout())
        self.fp = io.BufferedReader(self._file)

    def begin(self) -> None:
        self._file.begin_step()
        super().begin()

    def read1(self, n: int = -1) -> bytes:
        self._file.begin_step()
        return super().read1(n)


def patient(pools: Mapping[str, type[urllib3.connectionpool.HTTPConnectionPool]]) -> Pools:
    """The same connection pools, whose servers may not dawdle."""
    return {scheme: _patient(pool) for scheme, pool in pools.items()}


def _patient(
    pool: type[urllib3.connectionpool.HTTPConnectionPool],
) -> type[urllib3.connectionpool.HTTPConnectionPool]:
    connection = type("PatientConnection", (pool.ConnectionCls,), {})
    connection.response_class = _PatientResponse  # type: ignore[attr-defined]
    return type("PatientPool", (pool,), {"ConnectionCls": connection})
