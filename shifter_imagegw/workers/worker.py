# SPDX-License-Identifier: BSD-3-Clause
"""A process that takes jobs from the catalog, one at a time, and ends each of them."""

from __future__ import annotations

import contextlib
import logging
import signal
import threading
import time
from collections.abc import Callable, Collection, Iterator
from datetime import timedelta
from types import FrameType
from typing import NoReturn, Protocol

from shifter_common.errors import ShifterError
from shifter_imagegw.catalog import Catalog
from shifter_imagegw.errors import CatalogError, LeaseLostError, PullError
from shifter_imagegw.operation import usage
from shifter_imagegw.operation.logs import Facts
from shifter_imagegw.pulling import lease
from shifter_imagegw.pulling.lease import Lease
from shifter_imagegw.records import Claim, JobKind

log = logging.getLogger(__name__)

IDLE_SECONDS = 0.05  # between two looks into an empty queue, which cost microseconds
MOST_ATTEMPTS = 3

_LOOK_EVERY = 5.0  # seconds; how soon a job is interrupted that looks after nothing itself
_STUCK_AFTER = 10.0  # seconds that a job may take to stop by itself


class Stopped(BaseException):
    """The process was asked to end: what is half done is left to the next worker."""


class Duties(Protocol):
    """What is to be done; each method does the job and ends it in the catalog.

    What they raise becomes the job's reason of failure.
    """

    def pull(self, lease: Lease) -> None:
        """Make an image."""

    def expire(self, lease: Lease) -> None:
        """Remove an image."""

    def change_acl(self, lease: Lease) -> None:
        """Change who may use an image."""


class Worker:
    """Claims jobs, one at a time, and ends each of them."""

    def __init__(
        self,
        name: str,
        catalog: Catalog,
        systems: Collection[str],
        duties: Duties,
        *,
        limit: timedelta | None = None,
        idle_seconds: float = IDLE_SECONDS,
        wait: Callable[[float], None] = time.sleep,
    ) -> None:
        self._name = name
        self._catalog = catalog
        self._systems = systems
        self._duties = duties
        self._limit = limit
        self._idle_seconds = idle_seconds
        self._wait = wait
        self._is_blind = False

    def run(self) -> NoReturn:
        """Work until `Stopped` is raised here; on the way out the job goes back, to be retried."""
        try:
            while True:
                if not self.work_once():
                    self._wait(self._idle_seconds)
        finally:
            self.give_back()

    def work_once(self) -> bool:
        """Do one job; whether there was one."""
        try:
            claim = self._catalog.claim(self._systems, self._name, lease.DURATION, time.time())
        except CatalogError as error:
            if not self._is_blind:  # said once, not at every look
                log.error("catalog not readable reason=%s", error)
            self._is_blind = True
            return False
        self._is_blind = False
        if claim is None:
            return False
        with Lease(self._catalog, claim, limit=self._limit) as held:
            self._work_on(held)
        return True

    def give_back(self) -> None:
        """Let go of the job that was not ended, without a try lost."""
        try:
            self._catalog.give_back(self._name)
        except CatalogError as error:
            log.error("lease not released reason=%s", error)

    def _work_on(self, held: Lease) -> None:
        started = time.monotonic()
        verb, fields = _described(held.claim)
        log.info("%s started %s attempt=%d", verb, fields, held.claim.record.attempts)
        try:
            with _interrupted_when_over(held), held.measured():
                self._do(held)
        except LeaseLostError as error:
            log.warning("%s abandoned %s reason=%s", verb, fields, error)
        except CatalogError as error:
            log.error("%s interrupted %s reason=%s", verb, fields, error)
            self._leave_to_others(held)
        except ShifterError as error:
            self._fail(held, str(error))
        except OSError as error:
            log.info("%s met an error %s", verb, fields, exc_info=True)
            place = repr(error.filename) if error.filename else "its disk or the network"
            self._fail(held, f"the gateway cannot use {place}: {error.strerror or error}")
        except Exception:
            log.exception("%s met a defect %s", verb, fields)
            self._fail(
                held, "the gateway met an error that it did not expect; its log has the details"
            )
        else:
            log.info("%s finished %s seconds=%.1f", verb, fields, time.monotonic() - started)

    def _do(self, held: Lease) -> None:
        record = held.claim.record
        if record.attempts > MOST_ATTEMPTS:
            raise PullError(_given_up(held.claim))
        if record.kind is JobKind.REMOVAL:
            self._duties.expire(held)
        elif record.kind is JobKind.ACL:
            self._duties.change_acl(held)
        else:
            self._duties.pull(held)

    def _fail(self, held: Lease, reason: str) -> None:
        verb, fields = _described(held.claim)
        log.warning("%s failed %s reason=%s", verb, fields, reason)
        try:
            held.insist(lambda: self._catalog.fail(held.claim, reason))
        except LeaseLostError as error:
            log.error("%s failure not stored %s reason=%s", verb, fields, error)
        else:
            usage.note_end(self._catalog, held.claim.record)

    def _leave_to_others(self, held: Lease) -> None:
        """Have the job tried again as soon as the catalog answers; else once its lease ends."""
        with contextlib.suppress(LeaseLostError):
            held.insist(lambda: self._catalog.release([self._name]))


@contextlib.contextmanager
def stopped_by(number: signal.Signals) -> Iterator[None]:
    """Raise `Stopped` in the body on the first such signal, and end quietly."""

    def stop(_number: int, _frame: FrameType | None) -> None:
        signal.signal(number, signal.SIG_IGN)
        raise Stopped

    signal.signal(number, stop)
    with contextlib.suppress(Stopped):
        yield


@contextlib.contextmanager
def _interrupted_when_over(held: Lease) -> Iterator[None]:
    """Break even a call that hangs (a converter that reads no more) once the job must stop."""
    if threading.current_thread() is not threading.main_thread():
        yield  # no other thread gets signals
        return

    def look(_number: int, _frame: FrameType | None) -> None:
        if held.seconds_over() >= _STUCK_AFTER:
            signal.setitimer(signal.ITIMER_REAL, 0)
            held.require_held()

    before = signal.signal(signal.SIGALRM, look)
    signal.setitimer(signal.ITIMER_REAL, _LOOK_EVERY, _LOOK_EVERY)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def _described(claim: Claim) -> tuple[str, Facts]:
    """What kind of job it is, and which one, for the log."""
    record = claim.record
    verb = "expire" if record.kind is JobKind.REMOVAL else record.kind.value
    image = f"{record.image_type}:{record.pull_tag}"
    return verb, Facts(system=record.system, image=image, uid=record.puller)


def _given_up(claim: Claim) -> str:
    if claim.record.kind is JobKind.ACL:
        return (
            f"cannot change who may use {claim.record.pull_tag!r}: the worker died {MOST_ATTEMPTS} "
            "times while it did so; the gateway's log may say why"
        )
    return (
        f"cannot pull {claim.record.pull_tag!r}: the worker died {MOST_ATTEMPTS} times while it "
        "pulled it; the gateway's log may say why"
    )
