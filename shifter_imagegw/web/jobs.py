# SPDX-License-Identifier: BSD-3-Clause
"""A job of the queue as the page shows it: where it is on its way, and why it has failed."""

from __future__ import annotations

import dataclasses

from shifter_imagegw.records import ImageRecord, PullState
from shifter_imagegw.rules.visits import Visit

_PULL_STEPS = ("Waiting", "Pulling", "Converting", "Examining", "Delivering")
_STEP_OF = {
    PullState.INIT: "Waiting",
    PullState.PENDING: "Waiting",
    PullState.PULLING: "Pulling",
    PullState.HASHING: "Pulling",
    PullState.CONVERSION: "Converting",
    PullState.EXAMINATION: "Examining",
    PullState.TRANSFER: "Delivering",
    PullState.EXPIRING: "Removing",
}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Job:
    """One line of the queue."""

    key: str  # of the element that shows it
    name: str
    kind: str
    step: str
    steps: tuple[tuple[str, str], ...]  # name, and `done`, `now` or `next`
    reason: str | None  # of its failure
    note: str | None
    done: int | None
    total: int | None
    since: float | None
    puller: int | None
    is_mine: bool

    @property
    def percent(self) -> int:
        if not self.total or self.done is None:
            return 0
        return min(100, int(100 * self.done / self.total))


def job_of(record: ImageRecord, visit: Visit) -> Job:
    is_failure = record.state is PullState.FAILURE
    kind = _kind(record)
    step = "Failed" if is_failure else _STEP_OF.get(record.state, "Waiting")
    message = record.status_message
    is_news = bool(message) and str(message).upper() != record.state.value
    return Job(
        key=f"job-{record.key}",
        name=record.pull_tag if kind != "removal" else _removed(record),
        kind=kind,
        step=step,
        steps=() if is_failure or kind == "removal" else _steps(step),
        reason=(message or "no reason was given") if is_failure else None,
        note=message if is_news and not is_failure else None,
        done=record.bytes_done,
        total=record.bytes_total,
        since=record.last_pull,
        puller=record.puller,
        is_mine=visit.caller is not None and record.puller == visit.caller.uid,
    )


def _kind(record: ImageRecord) -> str:
    if record.state is PullState.EXPIRING or record.image_id is not None:
        return "removal"
    return "import" if record.is_import else "pull"


def _removed(record: ImageRecord) -> str:
    return record.tags[0] if record.tags else record.pull_tag


def _steps(current: str) -> tuple[tuple[str, str], ...]:
    place = _PULL_STEPS.index(current) if current in _PULL_STEPS else 0
    words = ("done" if index < place else "now" if index == place else "next" for index in range(5))
    return tuple(zip(_PULL_STEPS, words, strict=True))
