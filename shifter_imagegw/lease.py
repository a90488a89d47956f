# SPDX-License-Identifier: BSD-3-Clause
"""A worker's hold on one job: renewed from a thread, with the progress of the pull."""

from __future__ import annotations

import logging
import threading
import time
from datetime import timedelta
from types import TracebackType

from shifter_imagegw.catalog import Catalog
from shifter_imagegw.errors import CatalogError, LeaseLostError
from shifter_imagegw.records import Claim, PullState

log = logging.getLogger(__name__)

DURATION = timedelta(seconds=30)
RENEW_EVERY = timedelta(seconds=5)
REPORT_EVERY = timedelta(seconds=0.5)


class Lease:
    """Keeps a claim while its body runs.

    `enter` and `add_bytes` may be called from any thread. They, and `confirm`, raise
    `LeaseLostError` once another worker may own the job; so a pull that was thought dead stops at
    its next step. When the catalog cannot be reached the lease counts as lost as soon as it has
    run out, because then nobody knows.
    """

    def __init__(
        self,
        catalog: Catalog,
        claim: Claim,
        *,
        duration: timedelta = DURATION,
        renew_every: timedelta = RENEW_EVERY,
        report_every: timedelta = REPORT_EVERY,
    ) -> None:
        self.claim = claim
        self._catalog = catalog
        self._duration = duration
        self._renew_every = renew_every.total_seconds()
        self._report_every = report_every.total_seconds()
        self._ends = time.monotonic() + duration.total_seconds()
        self._lost: LeaseLostError | None = None
        self._state = claim.record.state
        self._message = ""
        self._bytes: tuple[int, int] | None = None
        self._reported: tuple[int, int] | None = None
        self._changing = threading.Lock()
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._keep, name="lease", daemon=True)

    def __enter__(self) -> Lease:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._over.set()
        self._thread.join()

    def enter(self, state: PullState, message: str) -> None:
        """Say at once that the pull has reached another state."""
        self.require_held()
        with self._changing:
            self._state, self._message = state, message
            self._report()

    def expect_bytes(self, total: int) -> None:
        """Say how many bytes are to be fetched."""
        self._bytes = (0, total)

    def add_bytes(self, count: int) -> None:
        """Note that so many more are there; the catalog hears of it within half a second."""
        self.require_held()
        with self._changing:
            if self._bytes is not None:
                done, total = self._bytes
                self._bytes = (done + count, total)

    def confirm(self) -> None:
        """Renew now, so that nobody else can own the job in the next `duration`."""
        self.require_held()
        self._renew()
        self.require_held()

    def require_held(self) -> None:
        """Raise `LeaseLostError` if this worker is no longer the owner of the job."""
        if self._lost is not None:
            raise self._lost

    def _keep(self) -> None:
        renewed = time.monotonic()
        while not self._over.wait(self._report_every):
            if time.monotonic() - renewed >= self._renew_every:
                self._renew()
                renewed = time.monotonic()
            if self._lost is not None:
                return
            if self._bytes != self._reported:
                with self._changing:
                    self._try_to_report()

    def _renew(self) -> None:
        asked = time.monotonic()
        try:
            self._catalog.renew(self.claim, self._duration, time.time())
        except LeaseLostError as error:
            self._lost = error
        except CatalogError as error:
            log.warning("lease not renewed key=%s reason=%s", self.claim.record.key, error)
            if time.monotonic() >= self._ends:
                self._lost = LeaseLostError("the lease ran out while the catalog did not answer")
        else:
            self._ends = asked + self._duration.total_seconds()

    def _try_to_report(self) -> None:
        try:
            self._report()
        except LeaseLostError as error:
            self._lost = error
        except CatalogError as error:
            log.warning("progress not reported key=%s reason=%s", self.claim.record.key, error)

    def _report(self) -> None:
        known = self._bytes
        done, total = known if known is not None else (None, None)
        self._catalog.report(
            self.claim, self._state, self._message, bytes_done=done, bytes_total=total
        )
        self._reported = known
