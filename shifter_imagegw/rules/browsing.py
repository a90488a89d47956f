# SPDX-License-Identifier: BSD-3-Clause
"""What a browser may be shown of a system's images and jobs.

However many look on, each process looks into the catalog once a second for jobs, and for images
when jobs have ended. Looking keeps no image from expiring.
"""

from __future__ import annotations

import dataclasses
import threading
import time
from collections.abc import Iterable

from shifter_imagegw.catalog import Catalog
from shifter_imagegw.config import GatewayConfig, SystemConfig
from shifter_imagegw.operation.recent import Recent
from shifter_imagegw.records import ImageRecord
from shifter_imagegw.rules import access
from shifter_imagegw.rules.visits import Visit

_SHELF_SECONDS = 15.0  # for which images are not read again if no job has ended


@dataclasses.dataclass(frozen=True, kw_only=True)
class Queue:
    """All jobs of a system; another `number` means that something has changed since."""

    number: int
    turn: int = 0  # another one when jobs have come or gone
    records: tuple[ImageRecord, ...] = ()


@dataclasses.dataclass(frozen=True, kw_only=True)
class Shelf:
    """All images of a system, and when the last of them was pulled."""

    records: tuple[ImageRecord, ...]
    newest: float


class Browsing:
    """Images and jobs, for visits."""

    def __init__(self, config: GatewayConfig, catalog: Catalog) -> None:
        self._queues = {name: Recent(QueueWatch(catalog, name)) for name in config.systems}
        self._shelves = {name: ShelfWatch(catalog, name) for name in config.systems}

    def images(self, visit: Visit) -> list[ImageRecord]:
        """Every image that the visitor may use."""
        return [
            record
            for record in self._shelf(visit.system).records
            if access.may_read(record, visit.caller, visit.system)
        ]

    def pulled_since(self, visit: Visit, start: float) -> list[ImageRecord]:
        """Those of them that were pulled after that, the last one first."""
        if self._shelf(visit.system).newest <= start:
            return []
        fresh = [record for record in self.images(visit) if (record.last_pull or 0.0) > start]
        return sorted(fresh, key=lambda record: -(record.last_pull or 0.0))

    def change(self, system: SystemConfig) -> tuple[int, float]:
        """What is another one when there are other jobs, or jobs have ended well."""
        return self.queue(system).number, self._shelf(system).newest

    def queue(self, system: SystemConfig) -> Queue:
        """Of everybody's; to be shown by `jobs` alone."""
        return self._queues[system.name]()

    def jobs(self, queue: Queue, visit: Visit) -> list[ImageRecord]:
        """What the visitor may know of it, oldest first.

        Whom jobs are for is told to those whom munge has proved, and not to anybody else.
        """
        return [
            access.shown_to(record, visit.caller, visit.system)
            if visit.caller is not None
            else _without_people(record)
            for record in queue.records
            if access.may_see_job(record, visit.caller, visit.system)
        ]

    def _shelf(self, system: SystemConfig) -> Shelf:
        return self._shelves[system.name](self.queue(system).turn)


class QueueWatch:
    """Reads a system's queue, and counts how often it was another than before."""

    def __init__(self, catalog: Catalog, system: str) -> None:
        self._catalog = catalog
        self._system = system
        self._last = Queue(number=0)
        self._reading = threading.Lock()

    def __call__(self) -> Queue:
        with self._reading:
            records = tuple(self._catalog.list_queue(self._system))
            if records != self._last.records:
                is_other = _keys(records) != _keys(self._last.records)
                self._last = Queue(
                    number=self._last.number + 1,
                    turn=self._last.turn + is_other,
                    records=records,
                )
            return self._last


class ShelfWatch:
    """Reads a system's images again when a job has ended, and now and then.

    One thread reads, which takes a while where there are thousands; the others are given what was
    there before.
    """

    def __init__(self, catalog: Catalog, system: str) -> None:
        self._catalog = catalog
        self._system = system
        self._reading = threading.Lock()
        self._last: tuple[int, float, Shelf] | None = None

    def __call__(self, turn: int) -> Shelf:
        before = self._last
        if not self._reading.acquire(blocking=before is None):
            assert before is not None  # else this would have waited
            return before[2]
        try:
            last = self._last
            if last is None or last[0] != turn or time.monotonic() - last[1] >= _SHELF_SECONDS:
                last = self._last = (turn, time.monotonic(), self._read())
            return last[2]
        finally:
            self._reading.release()

    def _read(self) -> Shelf:
        records = tuple(self._catalog.list_ready(self._system))
        newest = max((record.last_pull or 0.0 for record in records), default=0.0)
        return Shelf(records=records, newest=newest)


def _keys(records: Iterable[ImageRecord]) -> frozenset[str]:
    return frozenset(record.key for record in records)


def _without_people(record: ImageRecord) -> ImageRecord:
    """Public jobs as anybody may see them; of an import, files may be named in what is said."""
    message = None if record.is_import else record.status_message
    return dataclasses.replace(record, puller=None, status_message=message, source_path=None)
