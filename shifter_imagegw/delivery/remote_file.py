# SPDX-License-Identifier: BSD-3-Clause
"""A file of another host, as a program there sends it."""

from __future__ import annotations

import contextlib
import os
import select
from collections.abc import Callable

from shifter_imagegw.errors import DeliveryError
from shifter_imagegw.run import Running

_LONGEST_SILENCE = 60.0  # seconds; ssh itself notices after less when the host is gone
_LONGEST_LINE = 1000  # bytes


class RemoteFile:
    """Open there from the beginning, and sent from where it is asked for; `end` stops that."""

    def __init__(self, ssh: Running, end: Callable[[], None], size: int, changed: int) -> None:
        self._ssh = ssh
        self._end = end
        self._left = size
        self.size = size
        self.changed = changed

    def begin_at(self, first: int) -> None:
        say(self._ssh, f"{first + 1}\n")
        self._left = self.size - first

    def read(self, most: int) -> bytes:
        if not self._left:
            return b""
        piece = _next(self._ssh, min(most, self._left))
        if not piece:
            raise DeliveryError(
                f"ssh ended {self._left} bytes before the end of an image: "
                f"{self._ssh.ended().reason or 'it gave no reason'}"
            )
        self._left -= len(piece)
        return piece

    def close(self) -> None:
        self._end()


def say(program: Running, text: str) -> None:
    with contextlib.suppress(BrokenPipeError):  # why, whoever reads learns
        os.write(program.stdin, text.encode("utf-8", "surrogateescape"))


def next_line(program: Running) -> str:
    """The next line, of which a part may come at a time; empty at the end."""
    line = bytearray()
    while not line.endswith(b"\n") and len(line) < _LONGEST_LINE:
        letter = _next(program, 1)  # no more: a file may follow
        if not letter:
            break
        line += letter
    return line.decode(errors="replace")


def _next(program: Running, most: int) -> bytes:
    poll = select.poll()
    poll.register(program.stdout, select.POLLIN)
    if not poll.poll(_LONGEST_SILENCE * 1000):
        raise DeliveryError(f"ssh said nothing for {_LONGEST_SILENCE:g} seconds")
    return os.read(program.stdout, most)
