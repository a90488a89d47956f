# SPDX-License-Identifier: BSD-3-Clause
"""Recovery: which workers are dead, what they left behind, and which jobs nobody was told of."""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Callable, Collection, Iterable, Sequence
from datetime import timedelta
from typing import Protocol

from shifter_imagegw.catalog import Catalog
from shifter_imagegw.delivery import Partial
from shifter_imagegw.errors import CatalogError, PullError
from shifter_imagegw.operation import usage
from shifter_imagegw.process_names import is_dead, machine, worker_name

log = logging.getLogger(__name__)

SWEEP_EVERY = 3.0  # seconds
SWEEPER_FOR = timedelta(seconds=10)  # how long the one stays elected that does it for a machine
CLEAN_EVERY = 3.0  # seconds
STOCK_EVERY = 600.0  # seconds; the last look of a day is what the usage history keeps of it
CLEANER_FOR = timedelta(seconds=10)

# A worker of another machine that holds no job, and has written nothing for so long, is dead, or
# one of another gateway that shares the directory.
_ABANDONED_AFTER = 3600.0  # seconds

# A directory that is slow to list, over ssh for instance, is left in peace that much longer.
_REST = 100


class Place(Protocol):
    """Where workers keep files that they have begun to write."""

    def partials(self) -> list[Partial]:
        """All of these files."""

    def discard(self, partial: Partial) -> None:
        """Remove what nobody will finish."""


class Nudges(Protocol):
    """The queue in front of the workers of each system."""

    def __call__(self, system: str) -> None:
        """Tell the workers of a system that there is a job."""

    def count(self, system: str) -> int | None:
        """How many have not been heard yet; None where nobody knows."""


def run(catalog: Catalog, places: Iterable[Place]) -> None:
    """Give the jobs of dead workers back to the queue, and remove their partial files."""
    release_jobs_of_the_dead(catalog)
    for place in places:
        clean(catalog, place)


def release_jobs_of_the_dead(catalog: Catalog) -> None:
    dead = [worker for worker in catalog.workers() if is_dead(worker)]
    released = catalog.release(dead) if dead else 0
    if released:
        log.info("leases released workers=%s jobs=%d", ",".join(dead), released)


def nudge(catalog: Catalog, systems: Collection[str], nudges: Nudges) -> None:
    """Send a nudge for every job that has none, because it was lost or its worker has died."""
    for system, jobs in catalog.count_claimable(systems, time.time()).items():
        waiting = nudges.count(system)
        if waiting is None:
            continue
        for _ in range(jobs - waiting):
            nudges(system)
        if jobs > waiting:
            log.info("nudges sent system=%s count=%d", system, jobs - waiting)


def clean(catalog: Catalog, place: Place) -> None:
    """Remove the partial files of workers that are dead, or that nobody has heard of for long."""
    try:
        for partial in abandoned(catalog, place):
            place.discard(partial)
            log.info("partial file removed path=%s", os.fspath(partial.path))
    except PullError as error:
        log.warning("partial files not removed reason=%s", error)


def abandoned(catalog: Catalog, place: Place) -> list[Partial]:
    """What nobody will finish."""
    partials = place.partials()
    # Asked for afterwards: who holds no job now has ended the one that it made the file for.
    busy = set(catalog.workers()) if partials else set()
    return [
        partial
        for partial in partials
        if is_dead(partial.worker)
        or (partial.age > _ABANDONED_AFTER and partial.worker not in busy)
    ]


class Sweeper:
    """Does all that every few seconds in the background, in one process of each machine.

    `places` are those that this process can reach, `chores` what else keeps its disk clean. Both
    have a thread of their own, so that a filesystem that hangs keeps no job from being taken up
    again.
    """

    def __init__(
        self,
        catalog: Catalog,
        *,
        systems: Collection[str] = (),
        nudges: Nudges | None = None,
        places: Sequence[Place] = (),
        chores: Sequence[Callable[[], None]] = (),
        usage_kept: timedelta | None = None,
    ) -> None:
        self._catalog = catalog
        self._systems = systems
        self._nudges = nudges
        self._chores = chores
        self._rests = [(place, 0.0) for place in places]
        self._usage_kept = usage_kept
        self._stock_taken = float("-inf")
        self._started_in: int | None = None

    def start_once(self) -> None:
        """Start it unless that was done in this process; threads do not come through fork()."""
        if self._started_in != os.getpid():
            self._started_in = os.getpid()
            self.start()

    def start(self) -> None:
        self._start_thread("sweep", self.sweep, SWEEP_EVERY)
        if self._rests:
            self._start_thread("clean", self.clean, CLEAN_EVERY)

    def sweep(self) -> None:
        """Find the dead and the forgotten, unless another process does; take stock."""
        if self._is_elected("sweep", SWEEPER_FOR):
            release_jobs_of_the_dead(self._catalog)
            if self._nudges is not None:
                nudge(self._catalog, self._systems, self._nudges)
        if self._usage_kept is not None:
            self._take_stock(self._usage_kept)

    def clean(self) -> None:
        """Remove partial files, and do the chores, unless another process does."""
        if self._is_elected("clean", CLEANER_FOR):
            for chore in self._chores:
                chore()
            self._rests = [(place, self._cleaned(place, until)) for place, until in self._rests]

    def _take_stock(self, kept: timedelta) -> None:
        """Note every now and then what there is, unless another process does, on any machine."""
        now = time.time()
        if abs(now - self._stock_taken) < STOCK_EVERY:
            return
        self._stock_taken = now
        process = worker_name(os.getpid()) or machine()
        if self._catalog.elect("usage", process, timedelta(seconds=STOCK_EVERY), now):
            usage.take_stock(self._catalog, self._systems, kept, now)

    def _cleaned(self, place: Place, rests_until: float) -> float:
        started = time.monotonic()
        if started < rests_until:
            return rests_until
        clean(self._catalog, place)
        now = time.monotonic()
        return now + _REST * (now - started)

    def _is_elected(self, role: str, duration: timedelta) -> bool:
        name = f"{role}:{machine()}"
        process = worker_name(os.getpid()) or name
        return self._catalog.elect(name, process, duration, time.time())

    @staticmethod
    def _start_thread(name: str, step: Callable[[], None], every: float) -> None:
        thread = threading.Thread(target=_repeat, args=(name, step, every), name=name, daemon=True)
        thread.start()


def _repeat(name: str, step: Callable[[], None], every: float) -> None:
    is_away = False
    while True:
        try:
            step()
        except CatalogError as error:
            if not is_away:  # said once, not every few seconds
                log.warning("%s postponed reason=%s", name, error)
            is_away = True
        except Exception:
            log.exception("%s met a defect", name)
        else:
            is_away = False
        time.sleep(every)
