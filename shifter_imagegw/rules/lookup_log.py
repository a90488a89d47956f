# SPDX-License-Identifier: BSD-3-Clause
"""The metrics: who looked up what, written down without keeping a lookup waiting."""

from __future__ import annotations

import logging
import queue
import threading
import time

from shifter_imagegw.catalog import Catalog
from shifter_imagegw.errors import CatalogError
from shifter_imagegw.records import ImageRecord, Lookup
from shifter_imagegw.rules.auth import Caller

log = logging.getLogger(__name__)

_MOST_WAITING = 10_000  # rows; more than that a catalog that hangs costs rows, not memory
_FLUSH_SECONDS = 1.0


class LookupLog:
    """Rows on their way to the catalog.

    A thread of each process writes them, started by the first, so that it is there after fork().
    It also looks up the user's name, which may ask a directory service.
    """

    def __init__(self, catalog: Catalog) -> None:
        self._catalog = catalog
        self._rows: queue.Queue[tuple[Caller, Lookup]] = queue.Queue(_MOST_WAITING)
        self._start = threading.Lock()
        self._writer: threading.Thread | None = None

    def note(self, caller: Caller, record: ImageRecord, tag: str, now: float) -> None:
        """Have a row written soon, or let it go: no lookup fails for its sake."""
        row = Lookup(
            user="",
            uid=caller.uid,
            system=record.system,
            image_type=record.image_type,
            tag=tag,
            image_id=record.image_id or "",
            time=now,
        )
        try:
            self._rows.put_nowait((caller, row))
        except queue.Full:
            log.debug("lookup not noted: the catalog is too slow")
        self._require_writer()

    def flush(self) -> None:
        """Wait until what this process has noted is written, though not for long."""
        deadline = time.monotonic() + _FLUSH_SECONDS
        while self._rows.unfinished_tasks and time.monotonic() < deadline:
            time.sleep(0.001)

    def _require_writer(self) -> None:
        if self._writer is not None:
            return
        with self._start:
            if self._writer is None:
                self._writer = threading.Thread(target=self._write, name="lookups", daemon=True)
                self._writer.start()

    def _write(self) -> None:
        while True:
            caller, row = self._rows.get()
            try:
                self._catalog.add_lookup(_with_user(row, caller))
            except CatalogError as error:
                log.warning("lookup not noted reason=%s", error)
            except Exception:
                log.exception("lookup not noted")
            finally:
                self._rows.task_done()


def _with_user(row: Lookup, caller: Caller) -> Lookup:
    return Lookup(**{**vars(row), "user": caller.name or str(caller.uid)})
