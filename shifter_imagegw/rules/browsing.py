# SPDX-License-Identifier: BSD-3-Clause
"""What a browser may be shown of a system's images and jobs.

However many look on, each process looks into the catalog once a second for jobs, and less often
for images. Looking keeps no image from expiring.
"""

from __future__ import annotations

import dataclasses
import threading
from collections.abc import Callable

from shifter_imagegw.catalog import Catalog
from shifter_imagegw.config import GatewayConfig, SystemConfig
from shifter_imagegw.operation.recent import Recent
from shifter_imagegw.records import ImageRecord
from shifter_imagegw.rules import access
from shifter_imagegw.rules.visits import Visit

_IMAGES_SECONDS = 3.0  # for which thousands of records are not read again


@dataclasses.dataclass(frozen=True, kw_only=True)
class Queue:
    """All jobs of a system; another `number` means that something has changed since."""

    number: int
    records: tuple[ImageRecord, ...] = ()


@dataclasses.dataclass(frozen=True, kw_only=True)
class Shelf:
    """All images of a system, and when the last of them was pulled."""

    records: tuple[ImageRecord, ...]
    newest: float


class Browsing:
    """Images and jobs, for visits."""

    def __init__(self, config: GatewayConfig, catalog: Catalog) -> None:
        self._images = {
            name: Recent(_listing(catalog, name), _IMAGES_SECONDS) for name in config.systems
        }
        self._queues = {name: Recent(QueueWatch(catalog, name)) for name in config.systems}

    def images(self, visit: Visit) -> list[ImageRecord]:
        """Every image that the visitor may use."""
        return [
            record
            for record in self._images[visit.system.name]().records
            if access.may_read(record, visit.caller, visit.system)
        ]

    def pulled_since(self, visit: Visit, time: float) -> list[ImageRecord]:
        """Those of them that were pulled after that, the last one first."""
        if self._images[visit.system.name]().newest <= time:
            return []
        fresh = [record for record in self.images(visit) if (record.last_pull or 0.0) > time]
        return sorted(fresh, key=lambda record: -(record.last_pull or 0.0))

    def change(self, system: SystemConfig) -> tuple[int, float]:
        """What is another one when there are other jobs, or jobs have ended well."""
        return self.queue(system).number, self._images[system.name]().newest

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
                self._last = Queue(number=self._last.number + 1, records=records)
            return self._last


def _listing(catalog: Catalog, system: str) -> Callable[[], Shelf]:
    def look() -> Shelf:
        records = tuple(catalog.list_ready(system))
        newest = max((record.last_pull or 0.0 for record in records), default=0.0)
        return Shelf(records=records, newest=newest)

    return look


def _without_people(record: ImageRecord) -> ImageRecord:
    """Public jobs as anybody may see them; of an import, files may be named in what is said."""
    message = None if record.is_import else record.status_message
    return dataclasses.replace(record, puller=None, status_message=message, source_path=None)
