# SPDX-License-Identifier: BSD-3-Clause
"""The lines of the queue: state and image, as scripts know them, then what else is told."""

from __future__ import annotations

from collections.abc import Sequence

from shifter_cli import output
from shifter_cli.records import FAILURE, QueuedJob

_STATE_WIDTH = 12


def lines(jobs: Sequence[QueuedJob], now: float) -> list[str]:
    if not jobs:
        return []
    table = output.table([[job.tag, *_details(job, now)] for job in jobs])
    return [
        f"{output.printable(job.state):<{_STATE_WIDTH}} {line}".rstrip()
        for job, line in zip(jobs, table, strict=True)
    ]


def _details(job: QueuedJob, now: float) -> list[str]:
    kind = "" if job.kind == "pull" else job.kind
    age = "" if job.since is None else output.duration_text(max(now - job.since, 0.0))
    return [_user(job), kind, age, _how_far(job)]


def _user(job: QueuedJob) -> str:
    if job.puller_name or job.puller is None:
        return job.puller_name
    return output.user_name(job.puller)


def _how_far(job: QueuedJob) -> str:
    if job.state == FAILURE:
        return job.message
    if not job.bytes_total or job.bytes_done is None or job.bytes_done >= job.bytes_total:
        return ""
    share = 100 * job.bytes_done // job.bytes_total
    done, total = output.bytes_text(job.bytes_done), output.bytes_text(job.bytes_total)
    return f"{done} of {total}  {share} %"
