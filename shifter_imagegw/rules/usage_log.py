# SPDX-License-Identifier: BSD-3-Clause
"""Lookups, counted for the usage history without keeping any of them waiting."""

from __future__ import annotations

import logging
import threading
import time
from collections import Counter

from shifter_common.reference import ImageReference
from shifter_imagegw.catalog import Catalog
from shifter_imagegw.errors import CatalogError
from shifter_imagegw.operation.usage import day_of
from shifter_imagegw.records import ImageRecord, UsageCount

log = logging.getLogger(__name__)

_WRITE_EVERY = 2.0  # seconds
_MOST_KEPT = 10_000  # different counts; more than that a catalog that is away costs counts

_Key = tuple[str, str, str, int | None, bool]


class UsageLog:
    """Counts on their way to the catalog.

    A thread of each process writes them every few seconds, many lookups at once. What a process
    has counted since is lost when it ends.
    """

    def __init__(self, catalog: Catalog) -> None:
        self._catalog = catalog
        self._counts: Counter[_Key] = Counter()
        self._lock = threading.Lock()
        self._noted = threading.Event()
        self._writer: threading.Thread | None = None

    def note(
        self, record: ImageRecord, reference: ImageReference, uid: int | None, now: float
    ) -> None:
        """Count a lookup; `uid` only where the site keeps who looks up what."""
        key = (record.system, day_of(now), _name(record, reference), uid, record.is_restricted)
        with self._lock:
            if key in self._counts or len(self._counts) < _MOST_KEPT:
                self._counts[key] += 1
            if self._writer is None:
                self._writer = threading.Thread(target=self._write, name="usage", daemon=True)
                self._writer.start()
        self._noted.set()

    def flush(self) -> None:
        """Write what this process has counted."""
        with self._lock:
            counts, self._counts = self._counts, Counter()
        if not counts:
            return
        try:
            self._catalog.add_usage([_count(key, lookups) for key, lookups in counts.items()])
        except CatalogError:
            with self._lock:
                for key, lookups in counts.items():
                    if key in self._counts or len(self._counts) < _MOST_KEPT:
                        self._counts[key] += lookups
            raise

    def _write(self) -> None:
        is_away = False
        while True:
            self._noted.wait()
            time.sleep(_WRITE_EVERY)
            self._noted.clear()
            try:
                self.flush()
            except CatalogError as error:
                if not is_away:  # said once, not every few seconds
                    log.warning("lookups not counted yet reason=%s", error)
                is_away = True
                self._noted.set()
            except Exception:
                log.exception("lookups not counted")
            else:
                is_away = False


def _name(record: ImageRecord, reference: ImageReference) -> str:
    """The name of an image that was looked up; by its id, the first that it has."""
    if reference.image_type != "id":
        return str(reference.with_default_tag())
    return f"{record.image_type}:{next(iter(record.tags), record.pull_tag)}"


def _count(key: _Key, lookups: int) -> UsageCount:
    system, day, image, uid, restricted = key
    return UsageCount(
        system=system, day=day, image=image, uid=uid, restricted=restricted, lookups=lookups
    )
