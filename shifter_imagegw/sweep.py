# SPDX-License-Identifier: BSD-3-Clause
"""Recovery: which workers are dead, and what they left behind."""

from __future__ import annotations

import logging
import os
import socket
from collections.abc import Iterable
from pathlib import Path

from shifter_imagegw.catalog import Catalog
from shifter_imagegw.delivery import Delivery
from shifter_imagegw.errors import DeliveryError

log = logging.getLogger(__name__)

# Of a worker on another host nothing is known; but nobody pauses that long between two writes.
_ABANDONED_AFTER = 86400.0  # seconds

# Fields of /proc/<pid>/stat (proc(5): 3 and 22), counted after the program's name.
_STATE, _START_TIME = 0, 19
_ENDED = ("Z", "X")


def worker_name(pid: int) -> str | None:
    """`host:pid:start time`, which no other process ever has; None for a process that has ended."""
    fields = _fields_of(pid)
    if fields is None or fields[_STATE] in _ENDED:
        return None
    return f"{socket.gethostname()}:{pid}:{fields[_START_TIME]}"


def is_dead(worker: str) -> bool:
    """Whether a worker is known to be dead; of one on another host nothing is known."""
    host, _, process = worker.partition(":")
    pid, _, _ = process.partition(":")
    if host != socket.gethostname() or not pid.isdecimal():
        return False
    return worker_name(int(pid)) != worker


def run(catalog: Catalog, deliveries: Iterable[Delivery]) -> None:
    """Give the jobs of dead workers back to the queue, and remove their partial files."""
    dead = [worker for worker in catalog.workers() if is_dead(worker)]
    released = catalog.release(dead) if dead else 0
    if released:
        log.info("leases released workers=%s jobs=%d", ",".join(dead), released)
    for delivery in deliveries:
        _clean(delivery)


def _clean(delivery: Delivery) -> None:
    try:
        for partial in delivery.partials():
            if is_dead(partial.worker) or partial.age > _ABANDONED_AFTER:
                delivery.discard(partial)
                log.info("partial file removed path=%s", os.fspath(partial.path))
    except DeliveryError as error:
        log.warning("partial files not removed reason=%s", error)


def _fields_of(pid: int) -> list[str] | None:
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(errors="replace")
    except (FileNotFoundError, ProcessLookupError):
        return None
    # The program's name, in parentheses, may itself hold spaces and parentheses.
    return stat.rpartition(")")[2].split()
