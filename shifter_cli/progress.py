# SPDX-License-Identifier: BSD-3-Clause
"""How far a pull is: one rewritten line on a terminal, the original's lines anywhere else."""

from __future__ import annotations

import collections
import shutil
import sys
import time
from collections.abc import Callable
from typing import Protocol

from shifter_cli import output
from shifter_cli.records import ImageRecord
from shifter_common.reference import ImageReference

_REWRITE = "\r\x1b[2K"
_REPEAT_AFTER = 5.0  # seconds; a log shows that the pull is alive, not the same line twice a second
_RATE_OVER = 5.0  # seconds


class Progress(Protocol):
    """Where the answers about pulls go."""

    def show(self, reference: ImageReference, record: ImageRecord) -> None: ...
    def give_up(self, reference: ImageReference) -> None: ...
    def interrupted(self) -> None: ...


def choose(*, verbose: bool, as_json: bool, doing: str = output.PULLING) -> Progress:
    """The form that suits who reads."""
    if as_json:
        return JsonProgress()
    if not verbose and sys.stdout and sys.stdout.isatty():
        return TerminalProgress(doing)
    return LineProgress(verbose=verbose, doing=doing)


def show_once(reference: ImageReference, record: ImageRecord, *, verbose: bool) -> None:
    """The line of a pull that nobody waits for."""
    line = output.pull_line(reference, record.state, time.time())
    _write(f"{line}\n" if verbose else f"{_REWRITE}{line}")


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


class TerminalProgress:
    """Bytes, rate and remaining time for a person who waits."""

    def __init__(
        self, doing: str = output.PULLING, *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._doing = doing
        self._clock = clock
        self._rates: dict[ImageReference, _Rate] = {}  # of the pulls that go on, in their order

    def show(self, reference: ImageReference, record: ImageRecord) -> None:
        if not record.is_in_flight:
            self._rates.pop(reference, None)
            line = output.pull_line(reference, record.state, time.time(), self._doing)
            _write(f"{_REWRITE}{line}\n")
            return
        rate = self._rates.setdefault(reference, _Rate())
        detail = _transfer_text(record, rate.after(record.bytes_done, self._clock()))
        if reference != next(iter(self._rates)):
            return  # there is one line; it is for the first that is not settled
        line = output.printable(f"{record.state:<11} {detail or record.message}".rstrip())
        if len(self._rates) > 1:
            line += f"  (and {len(self._rates) - 1} more)"
        columns = shutil.get_terminal_size().columns
        name = _shortened(str(reference), columns - len(line) - 3)
        # A line that wraps could not be rewritten.
        _write(_REWRITE + f"{name}  {line}"[: columns - 1])

    def give_up(self, reference: ImageReference) -> None:
        if self._rates.pop(reference, None):
            _write("\n")

    def interrupted(self) -> None:
        if self._rates:
            _write("\n")


class JsonProgress:
    """One object per image, when it is settled."""

    def show(self, reference: ImageReference, record: ImageRecord) -> None:
        if not record.is_in_flight:
            output.show_json(record.wire)

    def give_up(self, reference: ImageReference) -> None:
        pass

    def interrupted(self) -> None:
        pass


class _Rate:
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


def _transfer_text(record: ImageRecord, rate: float | None) -> str:
    done, total = record.bytes_done, record.bytes_total
    if done is None or (total is not None and done >= total):
        return ""
    parts = [output.bytes_text(done)]
    if total:
        parts = [
            f"{output.bytes_text(done)} of {output.bytes_text(total)}",
            f"{100 * done // total} %",
        ]
    if rate is not None:
        parts.append(f"{output.bytes_text(rate)}/s")
    if rate and total:
        parts.append(f"{_duration_text((total - done) / rate)} left")
    return "  ".join(parts)


def _duration_text(seconds: float) -> str:
    if seconds < 100:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 100 * 60 else f"{seconds / 3600:.0f} h"


def _shortened(name: str, room: int) -> str:
    """The end of a long name: there its tag is."""
    return name if len(name) <= room or room < 2 else "…" + name[len(name) - room + 1 :]


def _write(text: str) -> None:
    print(text, end="", flush=True)
