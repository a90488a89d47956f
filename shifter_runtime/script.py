# SPDX-License-Identifier: BSD-3-Clause
"""A script whose first line names shifter: `#!/usr/bin/shifter --image=docker:x:1 /bin/bash`.

The kernel starts the program of that line with all the rest of the line as one argument, then the
script's path, then what the script was given. So a first argument with blanks is several only if
the second names a file whose first line says just that.
"""

from __future__ import annotations

import os
import stat

from shifter_runtime import identity

_LONGEST_LINE = 256  # what execve(2) reads of it


class Script:
    """A script of the caller's, open for reading; `words` is the command line that it means."""

    __slots__ = ("_arguments", "_fd", "_path", "words")

    def __init__(self, fd: int, words: list[str]) -> None:
        line, self._path, *arguments = words
        self._fd = fd
        self._arguments = len(arguments)
        given = filter(None, line.replace("\t", " ").split(" "))
        self.words = [*given, self._path, *arguments]

    def hand_on(self, command: list[str]) -> list[str]:
        """`command`, which reads a script that the container lacks through its descriptor.

        To be called in the container, where the program will start. A batch system keeps its copy
        of the script in a directory that it shares with nobody.
        """
        place = len(command) - self._arguments - 1
        if place < 0 or command[place] != self._path or os.path.exists(self._path):
            return command
        os.set_inheritable(self._fd, True)
        return [*command[:place], f"/dev/fd/{self._fd}", *command[place + 1 :]]


def find(words: list[str]) -> Script | None:
    """The script that `words` come from; it is opened with the rights of the caller."""
    try:
        # O_NONBLOCK: a FIFO must not keep root waiting.
        fd = identity.open_as_caller(words[1], os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except OSError:
        return None
    if stat.S_ISREG(os.fstat(fd).st_mode) and _says(os.pread(fd, _LONGEST_LINE, 0), words[0]):
        return Script(fd, words)
    os.close(fd)
    return None


def _says(start: bytes, argument: str) -> bool:
    """Whether a file that starts so is run with `argument`: `#! INTERPRETER ARGUMENT`."""
    line = start.partition(b"\n")[0]
    if not line.startswith(b"#!"):
        return False
    interpreter_and_rest = line[2:].split(None, 1)
    rest = b"".join(interpreter_and_rest[1:])
    return rest.rstrip(b" \t") == os.fsencode(argument)
