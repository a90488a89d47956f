# SPDX-License-Identifier: BSD-3-Clause
"""The last lines of a terminal, drawn again and again in place."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Sequence

_ERASE_TO_END_OF_LINE = "\x1b[K"
_ERASE_BELOW = "\x1b[J"


class Screen:
    """Lines that are rewritten where they stand; what is `above` them stays and scrolls away.

    Each drawing is one write, in which every line is overwritten before its rest is erased, so
    that nothing flickers.
    """

    def __init__(self) -> None:
        self._drawn: list[str] = []

    @property
    def is_empty(self) -> bool:
        return not self._drawn

    @staticmethod
    def size() -> tuple[int, int]:
        """Columns and rows, as they are now."""
        size = shutil.get_terminal_size()
        return size.columns, size.lines

    @staticmethod
    def has_ascii_only() -> bool:
        return not (sys.stdout.encoding or "").lower().startswith("utf")

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
        rows = sum(max(1, -(-len(line) // max(columns, 1))) for line in self._drawn)
        return "\r" + (f"\x1b[{rows - 1}A" if rows > 1 else "")

    @staticmethod
    def _write(text: str) -> None:
        print(text, end="", flush=True)
