# SPDX-License-Identifier: BSD-3-Clause
"""How far a pull is: a live view on a terminal, the original's lines anywhere else."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable
from typing import Protocol

from shifter_cli import output
from shifter_cli.gateway.records import ImageRecord
from shifter_common.reference import ImageReference

_REWRITE = "\r\x1b[2K"
_REPEAT_AFTER = 5.0  # seconds; a log shows that the pull is alive, not the same line twice a second


class Progress(Protocol):
    """Where the answers about pulls go."""

    def show(self, reference: ImageReference, record: ImageRecord) -> None: ...
    def give_up(self, reference: ImageReference) -> None: ...
    def interrupted(self) -> None: ...


def choose(
    *, verbose: bool, as_json: bool, quiet: bool = False, doing: str = output.PULLING
) -> Progress:
    """The form that suits who reads."""
    if quiet:
        return QuietProgress()
    if as_json:
        return JsonProgress()
    if not verbose and output.is_terminal(sys.stdout) and os.environ.get("TERM") != "dumb":
        from shifter_cli.progress.terminal import TerminalProgress  # scripts go without

        return TerminalProgress(doing)
    return LineProgress(verbose=verbose, doing=doing)


def show_once(reference: ImageReference, record: ImageRecord, *, verbose: bool) -> None:
    """The line of a pull that nobody waits for; as in the original, it has no end for scripts."""
    line = output.pull_line(reference, record.state, time.time())
    is_ended = verbose or output.is_terminal(sys.stdout)
    _write(f"{line}\n" if is_ended else f"{_REWRITE}{line}")


class LineProgress:
    """The original's form: a line is written when something changed, or has not for a while.

    `verbose` writes plain lines, otherwise each overwrites the one before, wherever it goes to.
    """

    def __init__(
        self,
        *,
        verbose: bool,
        doing: str = output.PULLING,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._verbose = verbose
        self._doing = doing
        self._clock = clock
        self._shown: dict[ImageReference, tuple[tuple[str, str], float]] = {}

    def show(self, reference: ImageReference, record: ImageRecord) -> None:
        news = (record.state, record.message)
        before, at = self._shown.get(reference, (None, 0.0))
        now = self._clock()
        if news == before and now - at < _REPEAT_AFTER:
            return
        self._shown[reference] = (news, now)
        line = output.pull_line(reference, record.state, time.time(), self._doing)
        _write(f"{line}\n" if self._verbose else f"{_REWRITE}{line}")
        if not record.is_in_flight:
            _write("\n")

    def give_up(self, reference: ImageReference) -> None:
        if reference in self._shown and not self._verbose:
            _write("\n")

    def interrupted(self) -> None:
        if self._shown and not self._verbose:
            _write("\n")


class QuietProgress:
    """Nothing; what fails is told on standard error, by the exit status too."""

    def show(self, reference: ImageReference, record: ImageRecord) -> None:
        pass

    def give_up(self, reference: ImageReference) -> None:
        pass

    def interrupted(self) -> None:
        pass


class JsonProgress:
    """One object per image, when it is settled."""

    def show(self, reference: ImageReference, record: ImageRecord) -> None:
        if not record.is_in_flight:
            output.show_json(record.wire)

    def give_up(self, reference: ImageReference) -> None:
        pass

    def interrupted(self) -> None:
        pass


def _write(text: str) -> None:
    print(text, end="", flush=True)
