# SPDX-License-Identifier: BSD-3-Clause
"""The last lines of a terminal, drawn again and again in place."""

from __future__ import annotations

import contextlib
import os
import shutil
import sys
import unicodedata
from collections.abc import Sequence
from typing import TextIO

_ERASE_TO_END_OF_LINE = "\x1b[K"
_ERASE_BELOW = "\x1b[J"


class Screen:
    """Lines that are rewritten where they stand; what is `above` them stays and scrolls away.

    Each drawing is one write, in which every line is overwritten before its rest is erased, so
    that nothing flickers.
    """

    def __init__(self, stream: TextIO | None = None) -> None:
        self._stream = stream  # standard output, as it is when something is written
        self._drawn: list[str] = []

    @property
    def is_empty(self) -> bool:
        return not self._drawn

    def size(self) -> tuple[int, int]:
        """Columns and rows, as they are now."""
        size = shutil.get_terminal_size()
        if self._stream is not None and "COLUMNS" not in os.environ:
            with contextlib.suppress(OSError):
                size = os.get_terminal_size(self._stream.fileno())
        return size.columns, size.lines

    def has_ascii_only(self) -> bool:
        encoding = (self._stream or sys.stdout).encoding or ""
        return not encoding.lower().startswith("utf")

    def draw(self, lines: Sequence[str], above: Sequence[str] = ()) -> None:
        if not above and list(lines) == self._drawn:
            return
        text = self._home()
        text += "".join(f"{line}{_ERASE_TO_END_OF_LINE}\n" for line in above)
        text += f"{_ERASE_TO_END_OF_LINE}\n".join(lines) + _ERASE_BELOW
        self._drawn = list(lines)
        self._write(text)

    def leave(self) -> None:
        """Let what is drawn stand, and go on below it."""
        if self._drawn:
            self._drawn = []
            self._write("\n")

    def _home(self) -> str:
        """Go to where the first line begins.

        A terminal that became narrower since has wrapped the lines, so that they take more rows.
        """
        columns, _ = self.size()
        rows = sum(max(1, -(-_width(line) // max(columns, 1))) for line in self._drawn)
        return "\r" + (f"\x1b[{rows - 1}A" if rows > 1 else "")

    def _write(self, text: str) -> None:
        print(text, end="", flush=True, file=self._stream)


def _width(line: str) -> int:
    """Columns that a line takes; what a registry says may be in any script."""
    if line.isascii():
        return len(line)
    return sum(2 if unicodedata.east_asian_width(c) in "WF" else 1 for c in line)
