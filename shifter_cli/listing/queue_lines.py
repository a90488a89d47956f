# SPDX-License-Identifier: BSD-3-Clause
"""The lines of the queue: state and image, as scripts know them, then what else is told."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence

from shifter_cli import output
from shifter_cli.gateway.records import FAILURE, QueuedJob

_STATE_WIDTH = 12
_INDENT = " " * 4


def lines(jobs: Sequence[QueuedJob], now: float, columns: int | None = None) -> list[str]:
    """One line each; where lines have no more than `columns`, reasons stand below."""
    if not jobs:
        return []
    table = output.table(
        [[job.tag, *_details(job, now), _how_far(job) if columns is None else ""] for job in jobs]
    )
    text = []
    for job, line in zip(jobs, table, strict=True):
        text.append(f"{output.printable(job.state):<{_STATE_WIDTH}} {line}".rstrip())
        if columns is not None and (how_far := output.printable(_how_far(job))):
            text += _below(text.pop(), how_far, columns)
    return text


def _below(line: str, how_far: str, columns: int) -> list[str]:
    """On the same line where it fits, else on lines of their own."""
    if len(line) + 2 + len(how_far) <= columns:
        return [f"{line}  {how_far}"]
    wrapped = textwrap.wrap(
        how_far, max(columns, 2 * len(_INDENT)), initial_indent=_INDENT, subsequent_indent=_INDENT
    )
    return [line[:columns], *wrapped]


def _details(job: QueuedJob, now: float) -> list[str]:
    kind = "" if job.kind == "pull" else job.kind
    age = "" if job.since is None else output.duration_text(max(now - job.since, 0.0))
    return [_user(job), kind, age]


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
