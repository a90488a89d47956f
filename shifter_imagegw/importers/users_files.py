# SPDX-License-Identifier: BSD-3-Clause
"""What an importer names, opened: one file, or the files of a directory."""

from __future__ import annotations

import contextlib
import os
import stat
import threading
from collections.abc import Callable, Iterator

from shifter_imagegw.errors import PullError
from shifter_imagegw.importers.child import Line, running_as
from shifter_imagegw.importers.identity import Importer, may_become_others
from shifter_imagegw.importers.reach import Rules, open_file, open_path
from shifter_imagegw.importers.spool import pieces_of


@contextlib.contextmanager
def files_of(who: Importer, keep_going: Callable[[], None]) -> Iterator[UsersFiles]:
    """Open files as `who` while the body runs.

    In a process of its own also where that cannot become the user: a lookup may take for ever.
    """
    becomes = may_become_others()
    rules = Rules(None if becomes else who)
    with (
        running_as(who if becomes else None, lambda line: _serve(line, rules)) as line,
        contextlib.closing(UsersFiles(_Opener(line, keep_going))) as files,
    ):
        yield files


class UsersFiles:
    """Descriptors of what the user may read; all are closed by `close`."""

    def __init__(self, opener: _Opener) -> None:
        self._opener = opener
        self._opened: list[int] = []

    def open(self, path: str) -> int:
        """A readable descriptor of a regular file, or of a directory one that names it."""
        descriptor = self._opener(path)
        self._opened.append(descriptor)
        return descriptor

    def close(self) -> None:
        while self._opened:
            os.close(self._opened.pop())


class UsersFolder:
    """The files below a directory of a user's, each opened once."""

    def __init__(self, path: str, files: UsersFiles) -> None:
        self.shown = repr(path)
        self._path = path
        self._files = files
        self._known: dict[str, int] = {}

    def __contains__(self, name: str) -> bool:
        try:
            self._open(name)
        except PullError:
            return False
        return True

    def size(self, name: str) -> int:
        return os.fstat(self._open(name)).st_size

    def pieces(self, name: str) -> Iterator[bytes]:
        return pieces_of(self._open(name))

    def _open(self, name: str) -> int:
        if name not in self._known:
            descriptor = self._files.open(os.path.join(self._path, name))
            if not stat.S_ISREG(os.fstat(descriptor).st_mode):
                raise PullError(f"cannot import {self.shown}: its {name!r} is not a file")
            self._known[name] = descriptor
        return self._known[name]


class _Opener:
    """Asks the other process for descriptors."""

    def __init__(self, line: Line, keep_going: Callable[[], None]) -> None:
        self._line = line
        self._keep_going = keep_going
        self._one_at_a_time = threading.Lock()

    def __call__(self, path: str) -> int:
        with self._one_at_a_time:
            with contextlib.suppress(BrokenPipeError):  # what it could not do is in its answer
                self._line.send({"path": path})
            answer = self._line.receive(self._keep_going)
        if answer is None:
            raise PullError(f"cannot import {path!r}: the process that opens files is gone")
        message, descriptors = answer
        if not descriptors:
            raise PullError(str(message.get("error", f"cannot import {path!r}")))
        return descriptors[0]


def _serve(line: Line, rules: Rules) -> None:
    """Open what is asked for, until nobody asks any more."""
    while question := line.receive():
        try:
            descriptor = _open(str(question[0]["path"]), rules)
        except PullError as error:
            line.send({"error": str(error)})
            continue
        line.send({}, descriptor)
        os.close(descriptor)


def _open(path: str, rules: Rules) -> int:
    """Directories by name only (O_PATH): they are read elsewhere."""
    descriptor = open_path(path, rules)
    if stat.S_ISDIR(os.fstat(descriptor).st_mode):
        return descriptor
    os.close(descriptor)
    return open_file(path, rules)
