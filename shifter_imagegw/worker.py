# SPDX-License-Identifier: BSD-3-Clause
"""A process that takes jobs from the catalog, one at a time, and ends each of them."""

from __future__ import annotations

import contextlib
import logging
import signal
import time
from collections.abc import Callable, Collection, Iterator
from types import FrameType
from typing import NoReturn

from shifter_common.errors import ShifterError
from shifter_imagegw import lease
from shifter_imagegw.catalog import Catalog
from shifter_imagegw.errors import CatalogError, LeaseLostError
from shifter_imagegw.lease import Lease
from shifter_imagegw.records import Claim, PullState

log = logging.getLogger(__name__)

IDLE_SECONDS = 0.05  # between two looks into an empty queue, which cost microseconds
MOST_ATTEMPTS = 3

Job = Callable[[Lease], None]


class Stopped(BaseException):
    """The process was asked to end: what is half done is left to the next worker."""


class Worker:
    """Claims jobs until `Stopped` is raised in it.

    `pull` and `expire` do the work and end the job in the catalog; what they raise becomes the
    job's reason of failure.
    """

    def __init__(
        self,
        name: str,
        catalog: Catalog,
        systems: Collection[str],
        *,
        pull: Job,
        expire: Job,
        wait: Callable[[float], None] = time.sleep,
    ) -> None:
        self._name = name
        self._catalog = catalog
        self._systems = systems
        self._pull = pull
        self._expire = expire
        self._wait = wait

    def run(self) -> NoReturn:
        """Work for ever; on the way out the lease goes back, so that the job is retried at once."""
        try:
            while True:
                if not self.work_once():
                    self._wait(IDLE_SECONDS)
        finally:
            self._give_back()

    def work_once(self) -> bool:
        """Do one job; whether there was one."""
        try:
            claim = self._catalog.claim(self._systems, self._name, lease.DURATION, time.time())
        except CatalogError as error:
            log.error("catalog not readable reason=%s", error)
            return False
        if claim is None:
            return False
        self._work_on(claim)
        return True

    def _give_back(self) -> None:
        try:
            self._catalog.give_back(self._name)
        except CatalogError as error:
            log.error("lease not released reason=%s", error)

    def _work_on(self, claim: Claim) -> None:
        started = time.monotonic()
        verb, fields = _described(claim)
        log.info("%s started %s attempt=%d", verb, fields, claim.record.attempts)
        try:
            self._do(claim)
        except LeaseLostError as error:
            log.warning("%s abandoned %s reason=%s", verb, fields, error)
        except CatalogError as error:
            # It can be told to nobody; once the lease has run out somebody tries again.
            log.error("%s interrupted %s reason=%s", verb, fields, error)
        except ShifterError as error:
            self._fail(claim, str(error))
        except OSError as error:
            log.info("%s met an error %s", verb, fields, exc_info=True)
            place = repr(error.filename) if error.filename else "its disk or the network"
            self._fail(claim, f"the gateway cannot use {place}: {error.strerror or error}")
        except Exception:
            log.exception("%s met a defect %s", verb, fields)
            self._fail(
                claim, "the gateway met an error that it did not expect; its log has the details"
            )
        else:
            log.info("%s finished %s seconds=%.1f", verb, fields, time.monotonic() - started)

    def _do(self, claim: Claim) -> None:
        with Lease(self._catalog, claim) as held:
            if claim.record.state == PullState.EXPIRING:
                self._expire(held)
            elif claim.record.attempts > MOST_ATTEMPTS:
                self._catalog.fail(claim, _given_up(claim))
            else:
                self._pull(held)

    def _fail(self, claim: Claim, reason: str) -> None:
        verb, fields = _described(claim)
        log.warning("%s failed %s reason=%s", verb, fields, reason)
        try:
            self._catalog.fail(claim, reason)
        except (CatalogError, LeaseLostError) as error:
            log.error("%s failure not stored %s reason=%s", verb, fields, error)


@contextlib.contextmanager
def stopped_by(number: signal.Signals) -> Iterator[None]:
    """Raise `Stopped` in the body on the first such signal, and end quietly."""

    def stop(_number: int, _frame: FrameType | None) -> None:
        signal.signal(number, signal.SIG_IGN)
        raise Stopped

    signal.signal(number, stop)
    with contextlib.suppress(Stopped):
        yield


def _described(claim: Claim) -> tuple[str, str]:
    """What kind of job it is, and which one, for the log."""
    record = claim.record
    verb = "expire" if record.state == PullState.EXPIRING else "pull"
    return verb, f"system={record.system} image={record.image_type}:{record.pull_tag}"


def _given_up(claim: Claim) -> str:
    return (
        f"cannot pull {claim.record.pull_tag!r}: the worker died {MOST_ATTEMPTS} times while it "
        "pulled it; the gateway's log may say why"
    )
