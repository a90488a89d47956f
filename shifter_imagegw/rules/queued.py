# SPDX-License-Identifier: BSD-3-Clause
"""The queue as a caller may see it."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Iterable
from typing import Any

from shifter_imagegw.config import SystemConfig
from shifter_imagegw.records import ImageRecord
from shifter_imagegw.rules import access, accounts
from shifter_imagegw.rules.auth import Caller


@dataclasses.dataclass(frozen=True)
class QueuedJob:
    """A job that waits, runs or has failed."""

    record: ImageRecord
    puller_name: str | None
    is_mine: bool

    def to_wire(self) -> dict[str, Any]:
        record = self.record
        # Older gateways noted no more than the last pull: of one in flight, that is when it began.
        since = record.last_pull if record.since is None and record.is_in_flight else record.since
        return {
            "status": record.state.value,
            "image": record.pull_tag,
            "puller": record.puller,
            "status_message": record.status_message,
            "bytes_done": record.bytes_done,
            "bytes_total": record.bytes_total,
            "itype": record.image_type,
            "kind": record.kind.value,
            "since": since,
            "puller_name": self.puller_name,
            "attempts": record.attempts,
            **record.layers_to_wire(),
            "is_mine": self.is_mine,
        }


def queued_jobs(
    records: Iterable[ImageRecord], system: SystemConfig, caller: Caller
) -> list[QueuedJob]:
    """What of the queue concerns `caller`."""
    name_of = functools.cache(accounts.name_of)  # a directory service is asked once for each
    jobs = []
    for record in records:
        if not access.may_see_job(record, caller, system):
            continue
        shown = access.shown_to(record, caller, system)
        name = None if shown.puller is None else name_of(shown.puller)
        jobs.append(QueuedJob(shown, name, access.is_owner(record, caller)))
    return jobs
