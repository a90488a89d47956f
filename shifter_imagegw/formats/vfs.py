# SPDX-License-Identifier: BSD-3-Clause
"""A tar stream becomes a plain directory, for sites that want files rather than an image file.

Every name is looked up from the descriptor of its parent, and no symbolic link is followed, so
that nothing is written outside of the directory whatever the stream says. The directory itself is
the gateway account's alone: users see it through the runtime, which asks the image's access list.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import BinaryIO, TypeVar, cast

from shifter_imagegw.errors import ConversionError
from shifter_imagegw.flatten import StreamSpoiledError
from shifter_imagegw.flatten.names import show
from shifter_imagegw.flatten.tar_writer import IMPLIED_MODE
from shifter_imagegw.formats.received import receive
from shifter_imagegw.run import run

T = TypeVar("T")

_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_NEW_FILE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_TOP_MODE = 0o700
_PIECE = 1 << 16  # bytes; that much of nothing but zeros becomes a hole
_ZEROS = bytes(_PIECE)


def make(write_tar: Callable[[BinaryIO], T], image: Path, arguments: Sequence[str] = ()) -> T:
    """Unpack the tar stream that `write_tar` writes into the empty directory `image`.

    Where that fails, the directory is empty again.
    """
    require_no_options(arguments)
    try:
        try:
            return _made(write_tar, image)
        except StreamSpoiledError as error:
            _empty(image)
            return cast("T", _made(error.write_again, image))
    except BaseException:
        with contextlib.suppress(ConversionError):
            _empty(image)
        raise


def require_no_options(arguments: Sequence[str]) -> None:
    if arguments:
        raise ConversionError(
            f"ConverterOptions.VFS holds {arguments[0]!r}, but a directory has no options: remove"
            " them"
        )


def is_cut_short(image: Path) -> bool:
    """Whether nothing is in it; a directory is put in place by one rename, when it is whole."""
    with os.scandir(image) as entries:
        return next(entries, None) is None


def _made(write_tar: Callable[[BinaryIO], T], image: Path) -> T:
    tree = _Unpacked(image)
    try:
        return receive(write_tar, tree)
    finally:
        tree.close()


class _Unpacked:
    """A `Tree` that is a directory."""

    def __init__(self, place: Path) -> None:
        self._place = place
        self._modes: dict[bytes, tuple[int, int]] = {b"": (_TOP_MODE, 0)}
        self._file = -1
        self._times = (0, 0)  # mode and time of the file that is being written
        self._position = 0
        self._root = self._current = -1
        self._names: list[bytes] = []  # of the current directory, from the root down
        with self._explained(b""):
            self._root = os.open(place, _DIRECTORY)
            self._current = os.dup(self._root)

    def close(self) -> None:
        for descriptor in (self._root, self._current, self._file):
            if descriptor >= 0:
                os.close(descriptor)
        self._root = self._current = self._file = -1

    def directory(self, path: bytes, mode: int, mtime: int) -> None:
        with self._explained(path):
            self._enter(path.split(b"/") if path else [])
        # Only at the end: until then more may come into it.
        self._modes[path] = (mode if path else _TOP_MODE, mtime)

    def symlink(self, path: bytes, target: bytes, mtime: int) -> None:
        with self._explained(path):
            parent, name = self._parent(path)
            os.symlink(target, name, dir_fd=parent)
            os.utime(name, (mtime, mtime), dir_fd=parent, follow_symlinks=False)

    def hard_link(self, path: bytes, target: bytes) -> None:
        with self._explained(path):
            found, old = self._parent(target)
            source = os.dup(found)  # the way to `path` may close it
            try:
                parent, new = self._parent(path)
                os.link(old, new, src_dir_fd=source, dst_dir_fd=parent, follow_symlinks=False)
            finally:
                os.close(source)

    def begin_file(self, path: bytes, mode: int, mtime: int, size: int) -> None:
        with self._explained(path):
            parent, name = self._parent(path)
            self._file = os.open(name, _NEW_FILE, 0o600, dir_fd=parent)
        self._times = (mode & 0o777, mtime)
        self._position = 0

    def write(self, data: memoryview) -> None:
        with self._explained(b"/".join(self._names)):
            while data:
                piece, data = data[:_PIECE], data[_PIECE:]
                if len(piece) < _PIECE or bytes(piece) != _ZEROS:
                    self._write(piece)
                self._position += len(piece)

    def end_file(self) -> None:
        mode, mtime = self._times
        with self._explained(b"/".join(self._names)):
            os.ftruncate(self._file, self._position)
            os.fchmod(self._file, mode)
            os.utime(self._file, (mtime, mtime))
            os.close(self._file)
        self._file = -1

    def finish(self) -> None:
        """Give directories their modes and times."""
        for path, (mode, mtime) in self._modes.items():
            with self._explained(path):
                directory = self._enter(path.split(b"/") if path else [])
                os.fchmod(directory, mode)
                os.utime(directory, (mtime, mtime))

    def _write(self, piece: memoryview) -> None:
        done = 0
        while done < len(piece):
            done += os.pwrite(self._file, piece[done:], self._position + done)

    def _parent(self, path: bytes) -> tuple[int, bytes]:
        *parents, name = path.split(b"/")
        return self._enter(parents), name

    def _enter(self, names: list[bytes]) -> int:
        """Make the directory the current one, and itself where it is missing; its descriptor."""
        if names[: len(self._names)] != self._names:
            self._go(os.dup(self._root), [])
        for name in names[len(self._names) :]:
            try:
                descriptor = os.open(name, _DIRECTORY, dir_fd=self._current)
            except FileNotFoundError:
                os.mkdir(name, 0o700, dir_fd=self._current)
                descriptor = os.open(name, _DIRECTORY, dir_fd=self._current)
                self._modes[b"/".join((*self._names, name))] = (IMPLIED_MODE, 0)
            self._go(descriptor, [*self._names, name])
        return self._current

    def _go(self, descriptor: int, names: list[bytes]) -> None:
        os.close(self._current)
        self._current, self._names = descriptor, names

    @contextlib.contextmanager
    def _explained(self, path: bytes) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise ConversionError(
                f"cannot write {show(path)} into {self._place}: {error.strerror}"
            ) from error


def _empty(directory: Path) -> None:
    # It goes down by descriptors, through no link, however deep the tree is.
    run(["find", directory, "-mindepth", "1", "-delete"], failing=ConversionError)
