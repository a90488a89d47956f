# SPDX-License-Identifier: BSD-3-Clause
"""How far a pull is, and whether it may go on: it must own its job and be in time."""

from __future__ import annotations

import time
from datetime import timedelta

from shifter_imagegw.errors import PullError
from shifter_imagegw.lease import Lease
from shifter_imagegw.records import PullState


class Progress:
    """What the steps of one pull report to; each method raises to stop the pull.

    `LeaseLostError` says that another worker owns the job, `PullError` that time is up.
    """

    def __init__(self, lease: Lease, limit: timedelta) -> None:
        self._lease = lease
        self._limit = limit
        self._ends = time.monotonic() + limit.total_seconds()

    @property
    def seconds_left(self) -> float:
        return max(0.0, self._ends - time.monotonic())

    def enter(self, state: PullState, message: str) -> None:
        self.keep_going()
        self._lease.enter(state, message)

    def expect_bytes(self, total: int) -> None:
        self._lease.expect_bytes(total)

    def add_bytes(self, count: int) -> None:
        self.keep_going()
        self._lease.add_bytes(count)

    def keep_going(self, *_: object) -> None:
        """Do nothing, unless the pull must stop."""
        self._lease.require_held()
        if time.monotonic() > self._ends:
            seconds = self._limit.total_seconds()
            raise PullError(
                f"the pull was stopped after {seconds:.0f} seconds, which is all that one may take"
                " here (PullTimeout): try again, or ask the site for a longer time"
            )
