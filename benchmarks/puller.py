# SPDX-License-Identifier: BSD-3-Clause
"""Many clients in one process, which all pull one image, as shifterimg does.

`python -m benchmarks.puller` reads an order as JSON on stdin and writes how each client fared.
"""

from __future__ import annotations

import dataclasses
import json
import sys
import threading
import time

from shifter_cli.access import AccessLists
from shifter_cli.gateway.client import GatewayClient
from shifter_cli.gateway.records import READY, ImageRecord
from shifter_cli.progress import pulls
from shifter_common import munge
from shifter_common.reference import ImageReference


@dataclasses.dataclass(frozen=True, kw_only=True)
class Order:
    """Which image to pull, from whom, by how many."""

    url: str
    system: str
    image: str
    munge_socket: str
    clients: int
    begin: float = 0.0  # on the monotonic clock, which all processes share


@dataclasses.dataclass
class Outcome:
    """How one client fared: the seconds until it saw the image READY, or why it did not."""

    seconds: float | None = None
    failure: str = ""


def run(order: Order) -> list[Outcome]:
    """Pull with all clients at once."""
    outcomes = [Outcome() for _ in range(order.clients)]
    threads = [threading.Thread(target=_pull, args=(order, outcome)) for outcome in outcomes]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return outcomes


def _pull(order: Order, outcome: Outcome) -> None:
    client = GatewayClient(
        [order.url],
        order.system,
        encode=lambda payload: munge.encode(payload, socket=order.munge_socket),
        timeout=30.0,
    )
    access = AccessLists(uids=(), gids=())
    time.sleep(max(order.begin - time.monotonic(), 0))
    started = time.perf_counter()
    reference = ImageReference.parse(order.image)
    told = list(pulls.follow(lambda image: client.pull(image, access), [reference]))
    last = told[-1][1]
    if isinstance(last, ImageRecord) and last.state == READY:
        outcome.seconds = time.perf_counter() - started
    else:
        outcome.failure = str(pulls.failure_of(reference, last))


def main() -> None:
    outcomes = run(Order(**json.load(sys.stdin)))
    json.dump([dataclasses.asdict(outcome) for outcome in outcomes], sys.stdout)


if __name__ == "__main__":
    main()
