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

_START_TIME = 19  # field of /proc/<pid>/stat, counted after the program's name (proc(5): 22)


def worker_name(pid: int) -> str | None:
    """`host:pid:start time`, which no other process ever has; None for a process that is gone."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return None
    # The program's name, in parentheses, may itself hold spaces and parentheses.
    fields = stat.rpartition(")")[2].split()
    return f"{socket.gethostname()}:{pid}:{fields[_START_TIME]}"


def is_dead(worker: str) -> bool:
    """Whether a worker is known to be dead; of one on another host nothing is known."""
    host, _, rest = worker.partition(":")
    pid, _, _ = rest.partition(":")
    if host != socket.gethostname() or not pid.isdecimal():
        return False
    return worker_name(int(pid)) != worker or _is_zombie(int(pid))


def run(catalog: Catalog, deliveries: Iterable[Delivery]) -> None:
    """Give the jobs of dead workers back to the queue, and remove their partial files."""
    dead = [worker for worker in catalog.workers() if is_dead(worker)]
    released = catalog.release(dead) if dead else 0
    if released:
        log.info("leases released workers=%s jobs=%d", ",".join(dead), released)
    for delivery in deliveries:
        _clean(catalog, delivery)


def _clean(catalog: Catalog, delivery: Delivery) -> None:
    try:
        # In this order: a worker that claims a job in between is not yet in the list of files.
        partials = delivery.partials()
        removed = delivery.clean_partials(partials, living=catalog.workers()) if partials else []
    except DeliveryError as error:
        log.warning("partial files not removed reason=%s", error)
        return
    for path in removed:
        log.info("partial file removed path=%s", os.fspath(path))


def _is_zombie(pid: int) -> bool:
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return True
    return stat.rpartition(")")[2].split()[0] in ("Z", "X")
