# SPDX-License-Identifier: BSD-3-Clause
"""How far one thing is, for a person at a terminal, on standard error."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable

from shifter_cli import output
from shifter_cli.progress import layout
from shifter_cli.progress.layout import Job
from shifter_cli.progress.screen import Screen
from shifter_cli.progress.terminal import Rate

_EVERY = 0.1  # seconds


class TransferProgress:
    """One line, rewritten; nothing where nobody sees it."""

    def __init__(
        self, name: str, *, quiet: bool = False, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._name = name
        self._clock = clock
        self._screen = Screen(sys.stderr)
        self._is_shown = not quiet and output.is_terminal(sys.stderr)
        self._state = ""
        self._rate = Rate()
        self._drawn_at = 0.0

    def show(
        self, state: str, done: int | None = None, total: int | None = None, message: str = ""
    ) -> None:
        now = self._clock()
        if state != self._state:
            self._state, self._rate, self._drawn_at = state, Rate(), 0.0
        rate = self._rate.after(done, now)
        is_last = total is not None and done is not None and done >= total
        if not self._is_shown or (now - self._drawn_at < _EVERY and not is_last):
            return
        self._drawn_at = now
        job = Job(name=self._name, state=state, message=message, done=done, total=total, rate=rate)
        columns, rows = self._screen.size()
        self._screen.draw(layout.lines([job], columns, rows))

    def end(self) -> None:
        """Take the line away."""
        if not self._screen.is_empty:
            self._screen.draw([])
