# SPDX-License-Identifier: BSD-3-Clause
"""Plays many submissions: each asks the gateway once, on a connection of its own, as users do.

`python -m benchmarks.scale_storm` reads an order as JSON on stdin and writes an answer on stdout.
What a submission is besides that request, a process of the user's on a login node, is not played:
a thousand of them on one machine would measure nothing but the start of Python.
"""

from __future__ import annotations

import asyncio
import collections
import dataclasses
import json
import sys
import time

from shifter_common import munge

HOST = "127.0.0.1"
PATIENCE = 60.0  # seconds for one answer, as long as a client waits by default
OK = b"HTTP/1.1 200 "


@dataclasses.dataclass(frozen=True, kw_only=True)
class Order:
    """What to ask of whom; the n-th submission asks for the n-th path, and round again."""

    port: int
    paths: list[str]
    munge_socket: str
    submissions: int
    at_once: int  # connections


@dataclasses.dataclass
class Storm:
    """What came of it: seconds of each submission that was answered, and why others were not."""

    seconds: list[float] = dataclasses.field(default_factory=list)
    elapsed: float = 0.0  # from the first to the last
    failures: dict[str, int] = dataclasses.field(default_factory=dict)


class UnansweredError(Exception):
    """A submission that got no image."""


async def play(order: Order) -> Storm:
    """All submissions, so many at once."""
    # Made before: each user's own node would do that, at the same time as all the others.
    waiting = [
        (order.paths[number % len(order.paths)], munge.encode(socket=order.munge_socket))
        for number in range(order.submissions)
    ]
    storm = Storm()
    failures: collections.Counter[str] = collections.Counter()
    started = time.perf_counter()
    await asyncio.gather(
        *(_submit_all(order.port, waiting, storm, failures) for _ in range(order.at_once))
    )
    storm.elapsed = time.perf_counter() - started
    storm.failures = dict(failures)
    return storm


async def _submit_all(
    port: int, waiting: list[tuple[str, str]], storm: Storm, failures: collections.Counter[str]
) -> None:
    """One login node: the next submission begins when the one before is answered."""
    while waiting:
        path, credential = waiting.pop()
        started = time.perf_counter()
        try:
            async with asyncio.timeout(PATIENCE):
                await _ask(port, path, credential)
        except TimeoutError:
            failures["no answer in time"] += 1
        except (OSError, UnansweredError) as error:
            failures[str(error)] += 1
        else:
            storm.seconds.append(time.perf_counter() - started)


async def _ask(port: int, path: str, credential: str) -> None:
    reader, writer = await asyncio.open_connection(HOST, port)
    try:
        head = f"GET {path} HTTP/1.1\r\nHost: {HOST}:{port}\r\nConnection: close\r\n"
        writer.write(f"{head}Accept: */*\r\nauthentication: {credential}\r\n\r\n".encode())
        answer = await reader.read()  # to the end: the gateway closes the connection
    finally:
        writer.close()
    if not answer.startswith(OK):
        line = answer.partition(b"\r\n")[0].decode(errors="replace")
        raise UnansweredError(f"answered {line!r}")


def main() -> None:
    order = Order(**json.load(sys.stdin))
    json.dump(dataclasses.asdict(asyncio.run(play(order))), sys.stdout)


if __name__ == "__main__":
    main()
