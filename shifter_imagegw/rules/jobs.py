# SPDX-License-Identifier: BSD-3-Clause
"""Work for the workers: put into the catalog once, followed by everybody who asks for it."""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Callable
from datetime import timedelta

from shifter_common.reference import ImageReference
from shifter_imagegw.catalog import Catalog
from shifter_imagegw.config import GatewayConfig, SystemConfig
from shifter_imagegw.records import ImageRecord, JobKind, NewPull, PullState
from shifter_imagegw.rules import access
from shifter_imagegw.rules.auth import Caller
from shifter_imagegw.rules.quotas import Quotas

log = logging.getLogger(__name__)

# A client asks again every half second, so an image that was pulled this recently is what it
# waits for, however short the site's PullUpdateTimeout is.
RECENT = timedelta(seconds=10)

# For this long a failure is told, once, to everybody who asks for the image: clients that wait
# for a pull only learn its end by asking for the pull again. Who has been told and asks once more
# wants another try.
FAILURE_IS_NEWS = timedelta(seconds=30)

Nudge = Callable[[str], None]  # tells the workers of a system that there is a job


def no_nudge(system: str) -> None:
    """For workers that look into the catalog often enough."""


class Jobs:
    """Pulls, imports and removals on their way."""

    def __init__(
        self, config: GatewayConfig, catalog: Catalog, clock: Callable[[], float], nudge: Nudge
    ) -> None:
        self._config = config
        self._catalog = catalog
        self._clock = clock
        self._nudge = nudge
        self.quotas = Quotas(config.limits, catalog)

    def find(
        self, system: SystemConfig, reference: ImageReference, caller: Caller
    ) -> ImageRecord | None:
        """The pull or import of this name that has not ended well.

        First one of the caller's own that has failed just now: whoever asks for the same image may
        have begun another since. A change of lists counts while it is under way; that it failed is
        no answer to who asks for the image.
        """
        self.forget_old_failures()
        name = (system.name, reference.image_type, reference.tag)
        failure = self._catalog.find_failure(*name, caller.uid)
        if failure is not None and failure.kind is not JobKind.ACL and self._is_new(failure):
            return failure
        job = self._catalog.find_pull(*name)
        if job is not None and job.kind is JobKind.ACL and not job.is_in_flight:
            return None
        return job

    def is_told(self, job: ImageRecord, caller: Caller, *, is_others: bool = False) -> bool:
        """Whether the job as it stands answers `caller`: it is under way, or failed just now.

        What `is_others` alone answers nobody else once it has failed.
        """
        return job.is_in_flight or self._is_news(job, caller, is_others)

    def nudge(self, system: SystemConfig) -> None:
        """Tell the workers of a system that there is a job."""
        self._nudge(system.name)

    def is_recent(self, ready: ImageRecord) -> bool:
        return self._age(ready) <= RECENT.total_seconds()

    def is_fresh(self, ready: ImageRecord) -> bool:
        """Whether an image is young enough not to be fetched again."""
        return self._age(ready) <= max(self._config.pull_update_timeout, RECENT).total_seconds()

    def start(self, new: NewPull, caller: Caller, system: SystemConfig) -> ImageRecord:
        """Put a pull or an import into the queue, unless somebody else did a moment earlier."""
        self.quotas.require_turn(system, caller)
        now = self._clock()
        record = self._catalog.add_pull(new, now)
        if record.last_pull != now:
            return access.shown_to(record, caller, system)
        self._nudge(new.system)
        log.info(
            "%s asked system=%s image=%s:%s uid=%d",
            record.kind.value,
            new.system,
            new.image_type,
            new.pull_tag,
            caller.uid,
        )
        # What the original answers to whoever starts a pull.
        return dataclasses.replace(record, state=PullState.INIT, last_pull=None)

    def expire(self, records: list[ImageRecord], *, expired_at: float | None = None) -> None:
        """Have images removed; with `expired_at`, those that nobody has asked for meanwhile."""
        for record in records:
            self._catalog.add_expire(record, expired_at=expired_at)
        for system in {record.system for record in records}:
            self._nudge(system)

    def forget_old_failures(self) -> None:
        oldest = max(self._config.pull_update_timeout, FAILURE_IS_NEWS)
        self._catalog.purge_failures(self._clock() - oldest.total_seconds())

    def _is_news(self, job: ImageRecord, caller: Caller, is_others: bool) -> bool:
        """Whether a job has failed and the caller does not know yet."""
        return (
            job.state is PullState.FAILURE
            and job.image_id is None  # else it was a removal that failed
            and (job.puller == caller.uid or not is_others)
            and self._is_new(job)
            and self._catalog.tell_failure(job, caller.uid)
        )

    def _is_new(self, failure: ImageRecord) -> bool:
        return self._age(failure) <= FAILURE_IS_NEWS.total_seconds()

    def _age(self, record: ImageRecord) -> float:
        return self._clock() - (record.last_pull or 0.0)
