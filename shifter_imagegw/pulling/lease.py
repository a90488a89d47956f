# SPDX-License-Identifier: BSD-3-Clause
"""A worker's hold on one job: renewed from a thread, with the progress of the pull."""

from __future__ import annotations

import contextlib
import logging
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from datetime import timedelta
from typing import TypeVar

from shifter_imagegw.catalog import Catalog
from shifter_imagegw.details import MOST_LAYERS_SHOWN, LayerProgress
from shifter_imagegw.errors import CatalogError, LeaseLostError, PullError
from shifter_imagegw.operation.telemetry import JobMeter
from shifter_imagegw.records import Claim, PullState

log = logging.getLogger(__name__)

DURATION = timedelta(seconds=20)
RENEW_EVERY = timedelta(seconds=4)
REPORT_EVERY = timedelta(seconds=0.5)

_TRY_AGAIN_AFTER = 0.25  # seconds, where the catalog does not answer or another holds the image

T = TypeVar("T")


def _no_complaint() -> None:
    """For who need not be told that there is something to wait for."""


class Lease:
    """Keeps a claim while its body runs.

    `enter` and `add_bytes` may be called from any thread. They, and `confirm`, raise
    `LeaseLostError` once another worker may own the job, and `PullError` once it has taken longer
    than `limit`; so a pull that was thought dead stops at its next step. When the catalog cannot be
    reached the lease counts as lost as soon as it has run out, because then nobody knows; until
    then the pull goes on without it.
    """

    def __init__(
        self,
        catalog: Catalog,
        claim: Claim,
        *,
        limit: timedelta | None = None,
        duration: timedelta = DURATION,
        renew_every: timedelta = RENEW_EVERY,
        report_every: timedelta = REPORT_EVERY,
    ) -> None:
        self.claim = claim
        self._catalog = catalog
        self._limit = limit
        self._duration = duration
        self._renew_every = renew_every.total_seconds()
        self._report_every = report_every.total_seconds()
        self._started = time.monotonic()
        self._ends = self._started + duration.total_seconds()
        self._lost: LeaseLostError | None = None
        self._lost_at = 0.0
        self._state = claim.record.state
        self._message = ""
        self._bytes: tuple[int, int] | None = None
        self._layers: dict[str, tuple[int, int]] = {}  # bytes that are here, and all, by digest
        self._is_reported = True
        self._meter = JobMeter(claim.record)
        self._changing = threading.Lock()
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._keep, name="lease", daemon=True)

    def __enter__(self) -> Lease:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    @contextlib.contextmanager
    def measured(self) -> Iterator[None]:
        """Count how the body ends, and how long it stays in each state."""
        error: BaseException | None = None
        try:
            yield
        except BaseException as caught:
            error = caught
            raise
        finally:
            self._meter.end(error, self._bytes[0] if self._bytes is not None else 0)

    def enter(self, state: PullState, message: str) -> None:
        """Say at once, or as soon as the catalog can be told, that the pull has got further."""
        self.require_held()
        with self._changing:
            self._state, self._message = state, message
            self._is_reported = False
            self._meter.enter(state)
            self._try_to_report()
        self.require_held()

    def expect_bytes(self, total: int) -> None:
        """Say how many bytes are to be fetched."""
        self._bytes = (0, total)

    def expect_layers(self, sizes: Mapping[str, int]) -> None:
        """Say how many bytes are to be fetched of each layer, by digest."""
        self.expect_bytes(sum(sizes.values()))
        self._layers = {digest: (0, size) for digest, size in sizes.items()}

    def add_bytes_of(self, digest: str, count: int) -> None:
        """The same as `add_bytes`, of a layer."""
        with self._changing:
            done, size = self._layers[digest]
            self._layers[digest] = (done + count, size)
        self.add_bytes(count)

    def add_bytes(self, count: int) -> None:
        """Note that so many more are there; the catalog hears of it within half a second."""
        self.require_held()
        with self._changing:
            if self._bytes is not None:
                done, total = self._bytes
                self._bytes = (done + count, total)
                self._is_reported = False

    def hold(self, image_id: str, keep_waiting: Callable[[], None] = _no_complaint) -> None:
        """Have an image of the claim's system for this job alone.

        `keep_waiting` is called again and again while another job has it, and may raise.
        """
        while not self.insist(lambda: self._catalog.hold(self.claim, image_id, time.time())):
            self.require_held()
            keep_waiting()
            self._over.wait(_TRY_AGAIN_AFTER)

    def confirm(self) -> None:
        """Renew now, so that nobody else can own the job in the next `duration`."""
        self.require_held()
        asked = time.monotonic()
        self.insist(lambda: self._catalog.renew(self.claim, self._duration, time.time()))
        self._ends = asked + self._duration.total_seconds()

    def insist(self, step: Callable[[], T]) -> T:
        """Do a step in the catalog, again and again while it fails and the lease has not run out.

        For what would waste a whole pull if the catalog were away for a moment.
        """
        while True:
            self._require_owned()
            try:
                return step()
            except CatalogError as error:
                log.warning("catalog not written key=%s reason=%s", self.claim.record.key, error)
                self._note_if_run_out()
            self._over.wait(_TRY_AGAIN_AFTER)

    def require_held(self) -> None:
        """Raise if this worker is no longer the owner of the job, or has taken too long over it."""
        self._require_owned()
        if self._overdue_seconds() >= 0:
            raise PullError(
                f"cannot finish {self.claim.record.pull_tag!r}: it took longer than "
                f"{self._limit}, which is the limit (PullTimeout)"
            )

    def seconds_over(self) -> float:
        """Since when `require_held` raises; negative where it does not."""
        since_lost = time.monotonic() - self._lost_at if self._lost is not None else -1.0
        return max(since_lost, self._overdue_seconds())

    def _require_owned(self) -> None:
        if self._lost is not None:
            # A copy: the traceback of one that is raised again and again would grow.
            raise LeaseLostError(str(self._lost))

    def _overdue_seconds(self) -> float:
        if self._limit is None:
            return -1.0
        return time.monotonic() - self._started - self._limit.total_seconds()

    def _keep(self) -> None:
        renewed = time.monotonic()
        while not self._over.wait(self._report_every):
            if time.monotonic() - renewed >= self._renew_every:
                self._renew()
                renewed = time.monotonic()
            if self._lost is not None:
                return
            if not self._is_reported:
                with self._changing:
                    self._try_to_report()

    def _renew(self) -> None:
        asked = time.monotonic()
        try:
            self._catalog.renew(self.claim, self._duration, time.time())
        except LeaseLostError as error:
            self._lose(error)
        except CatalogError as error:
            log.warning("lease not renewed key=%s reason=%s", self.claim.record.key, error)
            self._note_if_run_out()
        else:
            self._ends = asked + self._duration.total_seconds()

    def _note_if_run_out(self) -> None:
        if time.monotonic() >= self._ends:
            self._lose(LeaseLostError("the lease ran out while the catalog did not answer"))

    def _lose(self, error: LeaseLostError) -> None:
        if self._lost is None:
            self._lost_at = time.monotonic()
            self._lost = error

    def _try_to_report(self) -> None:
        done, total = self._bytes if self._bytes is not None else (None, None)
        layers = [
            LayerProgress(digest, size, came) for digest, (came, size) in self._layers.items()
        ]
        try:
            self._catalog.report(
                self.claim,
                self._state,
                self._message,
                bytes_done=done,
                bytes_total=total,
                layers=layers[:MOST_LAYERS_SHOWN] or None,
            )
        except LeaseLostError as error:
            self._lose(error)
        except CatalogError as error:
            log.warning("progress not reported key=%s reason=%s", self.claim.record.key, error)
        else:
            self._is_reported = True
