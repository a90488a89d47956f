# SPDX-License-Identifier: BSD-3-Clause
"""A job of the queue as the page shows it: where it is on its way, and why it has failed."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

from shifter_imagegw.details import LayerProgress
from shifter_imagegw.records import ImageRecord, JobKind, PullState
from shifter_imagegw.rules.visits import Visit

_STEPS = ("Waiting", "Pulling", "Converting", "Examining", "Delivering")
_STEP_OF = {
    PullState.PULLING: "Pulling",
    PullState.HASHING: "Pulling",
    PullState.CONVERSION: "Converting",
    PullState.EXAMINATION: "Examining",
    PullState.TRANSFER: "Delivering",
}
_WITHOUT_STEPS = {
    JobKind.REMOVAL: "Being removed",
    JobKind.ACL: "Who may use it is being changed",
}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Job:
    """One line of the queue."""

    key: str  # of the element that shows it
    name: str
    kind: str
    steps: tuple[tuple[str, str], ...]  # name, and `done`, `now` or `next`
    note: str | None
    reason: str | None  # of its failure
    done: int | None
    total: int | None
    layers: Sequence[LayerProgress]
    since: float | None
    puller: int | None
    is_mine: bool

    @property
    def percent(self) -> int:
        if not self.total or self.done is None:
            return 0
        return min(100, int(100 * self.done / self.total))

    @property
    def layers_done(self) -> int:
        return sum(layer.done >= layer.size for layer in self.layers)


def job_of(record: ImageRecord, visit: Visit) -> Job:
    has_failed = record.state is PullState.FAILURE
    message = record.status_message or ""
    # Older gateways wrote no more than the name of the state.
    note = "" if message.upper() == record.state.value else message
    has_steps = not has_failed and record.kind not in _WITHOUT_STEPS
    return Job(
        key=f"job-{record.key}",
        name=record.pull_tag if record.kind is not JobKind.REMOVAL else _name(record),
        kind={JobKind.ACL: "access"}.get(record.kind, record.kind.value),
        steps=_steps(_STEP_OF.get(record.state, "Waiting")) if has_steps else (),
        note=None if has_failed else _WITHOUT_STEPS.get(record.kind) or note,
        reason=(message or "no reason was given") if has_failed else None,
        done=record.bytes_done,
        total=None if has_failed else record.bytes_total,
        layers=() if has_failed else record.layers or (),
        since=record.last_pull if record.since is None or has_failed else record.since,
        puller=record.puller,
        is_mine=visit.caller is not None and record.puller == visit.caller.uid,
    )


def _name(record: ImageRecord) -> str:
    return record.tags[0] if record.tags else record.pull_tag


def _steps(current: str) -> tuple[tuple[str, str], ...]:
    place = _STEPS.index(current)
    words = ("done" if index < place else "now" if index == place else "next" for index in range(5))
    return tuple(zip(_STEPS, words, strict=True))
