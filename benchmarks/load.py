# SPDX-License-Identifier: BSD-3-Clause
"""One client that asks the gateway again and again, each time with a new credential.

`python -m benchmarks.load` reads an order as JSON on stdin and writes the seconds of each answer.
Without a rate it asks as fast as it is answered. With one it asks by the clock, and what it waits
for an earlier answer counts, as it would for a user.
"""

from __future__ import annotations

import dataclasses
import json
import random
import socket
import sys
import time

from shifter_common import munge

TIMEOUT = 30.0  # seconds
MOST_BYTES = 1 << 16


@dataclasses.dataclass(frozen=True, kw_only=True)
class Order:
    """What to ask, of whom, for how long."""

    port: int
    paths: list[str]
    munge_socket: str
    seconds: float
    begin: float = 0.0  # on the monotonic clock, which all processes share
    rate: float | None = None  # requests per second
    seed: int = 0


class Connection:
    """A connection that is kept for as long as the server keeps it."""

    def __init__(self, port: int) -> None:
        self._address = ("127.0.0.1", port)
        self._socket: socket.socket | None = None

    def get(self, path: str, credential: str) -> None:
        """Ask once; anything but a whole answer with status 200 ends the client."""
        if self._socket is None:
            self._socket = socket.create_connection(self._address, TIMEOUT)
            self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        request = f"GET {path} HTTP/1.1\r\nHost: gateway\r\nauthentication: {credential}\r\n\r\n"
        self._socket.sendall(request.encode())
        if not self._read_answer(self._socket, path):
            self._socket.close()
            self._socket = None

    def _read_answer(self, connection: socket.socket, path: str) -> bool:
        """Whether the server keeps the connection."""
        answer = b""
        while b"\r\n\r\n" not in answer:
            answer += _more(connection, path)
        head, _, body = answer.partition(b"\r\n\r\n")
        status, *lines = head.decode("latin-1").split("\r\n")
        headers = {name.lower(): value for name, _, value in (x.partition(": ") for x in lines)}
        left = int(headers["content-length"]) - len(body)
        while left > 0:
            left -= len(_more(connection, path))
        if " 200 " not in status:
            sys.exit(f"GET {path} answered {status}: {body.decode(errors='replace')}")
        return headers.get("connection", "").lower() != "close"


def run(order: Order) -> list[float]:
    """Seconds of each request that was asked within the time."""
    rng = random.Random(order.seed)
    connection = Connection(order.port)
    seconds: list[float] = []
    time.sleep(max(order.begin - time.monotonic(), 0))
    started = time.perf_counter()
    due = started
    while True:
        now = time.perf_counter()
        if order.rate is None:
            due = now
        elif now < due:
            time.sleep(due - now)
        if due - started >= order.seconds:
            return seconds
        credential = munge.encode(socket=order.munge_socket)
        connection.get(rng.choice(order.paths), credential)
        seconds.append(time.perf_counter() - due)
        if order.rate is not None:
            due += 1 / order.rate


def _more(connection: socket.socket, path: str) -> bytes:
    data = connection.recv(MOST_BYTES)
    if not data:
        sys.exit(f"the gateway ended the connection before it had answered GET {path}")
    return data


def main() -> None:
    json.dump(run(Order(**json.load(sys.stdin))), sys.stdout)


if __name__ == "__main__":
    main()
