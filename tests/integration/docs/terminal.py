# SPDX-License-Identifier: BSD-3-Clause
"""A terminal of 80 columns, with a shell in it, and somebody who types and reads."""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
import select
import struct
import termios
import time
from collections.abc import Callable, Sequence
from typing import Any

import pyte

_COLUMNS, _ROWS = 80, 24
# The screen that is looked at is larger, so that nothing is out of sight, and no line is broken.
_WIDTH, _HEIGHT = 4000, 3000
_PROMPT = re.compile(r"«(\d+)»$")
_SETTINGS = {
    "PS1": "«$?»",
    "PS2": "",
    "PROMPT_COMMAND": 'PS1="«\\$?»"',  # for shells in this one, whose files give them another
    "TERM": "xterm-256color",
    "HISTFILE": "",
    "PAGER": "cat",
}
_PASSWORD = "secret"

Start = Callable[..., Any]


class Terminal:
    """`start(*words, env=…, stdin=…)` starts the shell; all else is typed and read."""

    def __init__(self, start: Start, owner: int) -> None:
        self._screen = pyte.Screen(_WIDTH, _HEIGHT)
        self._stream = pyte.ByteStream(self._screen)
        self._master, slave = os.openpty()
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", _ROWS, _COLUMNS, 0, 0))
        os.fchown(slave, owner, -1)
        shell = ["bash", "--noprofile", "--norc", "--noediting", "-i"]
        self._process = start(
            "setsid", "--ctty", "--wait", *shell,
            env=_SETTINGS, stdin=slave, stdout=slave, stderr=slave,
        )  # fmt: skip
        os.close(slave)
        self._read_until_prompt(0, 30, ())

    def run(
        self, command: str, expected: Sequence[str] = (), *, seconds: float = 60
    ) -> tuple[int, list[str]]:
        """Type a command; its exit status, and the lines that it leaves on the screen."""
        self._screen.reset()
        self._type(command)
        first = command.count("\n") + 1
        status = self._read_until_prompt(first, seconds, expected)
        last = self._screen.cursor.y
        lines = [self._line(row) for row in range(first, last + 1)]
        lines[-1] = _PROMPT.sub("", lines[-1])
        return status, lines if lines[-1] else lines[:-1]

    def close(self) -> None:
        self._type("exit 0")
        with contextlib.suppress(OSError):  # the other side is closed
            while self._read(10):
                pass
        self._process.wait(10)
        os.close(self._master)

    def _type(self, text: str) -> None:
        os.write(self._master, f"{text}\n".encode())

    def _read(self, seconds: float) -> bool:
        if not select.select([self._master], [], [], seconds)[0]:
            return False
        content = os.read(self._master, 65536)
        self._stream.feed(content)
        return bool(content)

    def _read_until_prompt(self, first: int, seconds: float, expected: Sequence[str]) -> int:
        deadline = time.monotonic() + seconds
        answered = -1
        while True:
            came = self._read(0.2)
            row = self._screen.cursor.y
            line = self._line(row)
            if row >= first and (found := _PROMPT.search(line)):
                return int(found[1])
            # Something that asks says so, and then waits.
            if not came and row > answered and line.rstrip().endswith(":") and row >= first:
                self._type(_answer(line.strip(), expected))
                answered = row
            if time.monotonic() > deadline:
                shown = "\n".join(self._line(row) for row in range(row + 1))
                raise TimeoutError(f"not done within {seconds} seconds:\n{shown}")

    def _line(self, row: int) -> str:
        cells = self._screen.buffer[row]
        width = max(cells, default=-1) + 1
        return "".join(cells[column].data for column in range(width)).rstrip()


def _answer(asked: str, expected: Sequence[str]) -> str:
    for line in expected:
        if line.startswith(asked):
            return line.removeprefix(asked).strip() or _PASSWORD
    return ""
