# SPDX-License-Identifier: BSD-3-Clause
"""How far pulls are, for a person at a terminal: bytes, rate, remaining time, layers."""

from __future__ import annotations

import collections
import time
from collections.abc import Callable

from shifter_cli import output
from shifter_cli.gateway.records import ImageRecord
from shifter_cli.progress import layout
from shifter_cli.progress.layout import Job
from shifter_cli.progress.screen import Screen
from shifter_common.reference import ImageReference

_RATE_OVER = 5.0  # seconds


class TerminalProgress:
    """A line for each image that is not settled; of one that is, the original's line remains."""

    def __init__(
        self, doing: str = output.PULLING, *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._doing = doing
        self._clock = clock
        self._screen = Screen()
        self._rates: dict[ImageReference, Rate] = {}
        self._jobs: dict[ImageReference, Job] = {}  # what goes on, in the order of its beginning

    def show(self, reference: ImageReference, record: ImageRecord) -> None:
        if record.is_in_flight:
            rate = self._rates.setdefault(reference, Rate())
            self._jobs[reference] = Job(
                name=str(reference),
                state=record.state,
                message=record.message,
                done=record.bytes_done,
                total=record.bytes_total,
                rate=rate.after(record.bytes_done, self._clock()),
                layers=record.layers,
            )
            self._draw()
            return
        self._jobs.pop(reference, None)
        self._draw(output.pull_line(reference, record.state, time.time(), self._doing))

    def give_up(self, reference: ImageReference) -> None:
        if job := self._jobs.pop(reference, None):
            self._draw(layout.headline(job, self._screen.size()[0]))

    def interrupted(self) -> None:
        self._screen.leave()

    def _draw(self, *above: str) -> None:
        columns, rows = self._screen.size()
        lines = layout.lines(
            list(self._jobs.values()), columns, rows - 1, ascii_only=self._screen.has_ascii_only()
        )
        self._screen.draw(lines, above)


class Rate:
    """Bytes per second over the last few seconds."""

    def __init__(self) -> None:
        self._samples: collections.deque[tuple[float, int]] = collections.deque()

    def after(self, done: int | None, now: float) -> float | None:
        if done is None:
            return None
        if self._samples and done < self._samples[-1][1]:
            self._samples.clear()  # another try began
        self._samples.append((now, done))
        while now - self._samples[0][0] > _RATE_OVER and len(self._samples) > 2:
            self._samples.popleft()
        began, first = self._samples[0]
        return (done - first) / (now - began) if now > began else None
