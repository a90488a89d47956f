# SPDX-License-Identifier: BSD-3-Clause
"""A directory tree as a tar stream, read by a process that is its user.

Nothing is followed: a symbolic link is an entry like others. Names are in order, so that the same
tree gives the same bytes. What changes while it is read is an error, not half a file.
"""

from __future__ import annotations

import dataclasses
import errno
import os
import stat
from collections.abc import Iterator
from typing import BinaryIO

from shifter_imagegw.errors import PullError
from shifter_imagegw.flatten import FlattenReport, Limits
from shifter_imagegw.flatten.names import PATH_MAX, show
from shifter_imagegw.flatten.tar_header import BLOCK
from shifter_imagegw.flatten.tar_reader import DEVICE, FIFO, OTHER
from shifter_imagegw.flatten.tar_writer import TarWriter
from shifter_imagegw.importers.reach import Rules, reopen_file

_CHUNK = 1 << 20  # bytes
_DEEPEST = 500  # directories in each other, each of which is open
_LATEST_MTIME = (1 << 32) - 1  # of squashfs, seconds since the epoch
_OPEN_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_OPEN_NAME = os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC
_SEARCH, _READ = 0o1, 0o4


@dataclasses.dataclass(frozen=True)
class Entry:
    """A name in an open directory, as it was found."""

    directory: int
    name: bytes
    path: bytes  # from the root of the tree
    status: os.stat_result


class Tree:
    """Writes the tree below one directory."""

    def __init__(self, out: BinaryIO, rules: Rules, limits: Limits) -> None:
        self._writer = TarWriter(out)
        self._rules = rules
        self._limits = limits
        self._report = FlattenReport()
        self._linked: dict[tuple[int, int], bytes] = {}  # device and inode -> the first path

    def write(self, root: int) -> FlattenReport:
        """Write all that is below `root`, an open directory."""
        status = os.fstat(root)
        self._writer.directory(b"", status.st_mode, _mtime(status))
        open_ones = [(root, _entries(root, b""))]
        try:
            while open_ones:
                directory, entries = open_ones[-1]
                entry = next(entries, None)
                if entry is None:
                    open_ones.pop()
                    os.close(directory)
                elif (inner := self._entry(entry)) is not None:
                    open_ones.append((inner, _entries(inner, entry.path)))
                    _require_shallow(len(open_ones), entry)
        finally:
            for directory, _ in open_ones:
                os.close(directory)
        self._writer.finish()
        self._report.entries = self._writer.entries
        return self._report

    def _entry(self, entry: Entry) -> int | None:
        """Write an entry; a directory that is to be gone through, open."""
        self._spend_entry(entry)
        if stat.S_ISDIR(entry.status.st_mode):
            self._writer.directory(entry.path, entry.status.st_mode, _mtime(entry.status))
            return self._entered(entry)
        if stat.S_ISREG(entry.status.st_mode):
            self._file(entry)
        elif stat.S_ISLNK(entry.status.st_mode):
            target = os.readlink(entry.name, dir_fd=entry.directory)
            self._writer.symlink(entry.path, target, _mtime(entry.status))
        else:
            self._report.count_dropped(_kind_of(entry.status))
        return None

    def _entered(self, entry: Entry) -> int | None:
        directory = _open(entry, _OPEN_DIRECTORY)
        try:
            status = os.fstat(directory)
            # /proc and its like: the runtime brings its own; what is in them here is nobody's.
            if status.st_dev not in self._rules.pseudo_devices:
                self._rules.require(directory, status, _READ | _SEARCH, show(entry.path))
                return os.dup(directory)
        finally:
            os.close(directory)
        return None

    def _file(self, entry: Entry) -> None:
        name = _open(entry, _OPEN_NAME)
        try:
            status = os.fstat(name)
            identity = (status.st_dev, status.st_ino)
            if not stat.S_ISREG(status.st_mode):
                raise _changed(entry.path)
            if identity in self._linked:
                self._writer.hard_link(entry.path, self._linked[identity])
                return
            self._rules.require(name, status, _READ, show(entry.path))
            self._spend_bytes(status.st_size)
            file = _readable(name, status, entry.path)
        finally:
            os.close(name)
        try:
            data = _padded(file, status, entry.path)
            size = status.st_size
            self._writer.file(entry.path, status.st_mode, _mtime(status), size, data)
        finally:
            os.close(file)
        if status.st_nlink > 1:
            self._linked[identity] = entry.path

    def _spend_entry(self, entry: Entry) -> None:
        if self._writer.entries >= self._limits.entries:
            raise PullError(
                f"the tree has more than {self._limits.entries} entries, which is all that an"
                " image may have here (MaxEntries)"
            )
        if len(entry.path) > PATH_MAX:
            raise PullError(f"the tree has a path of {len(entry.path)} bytes: {show(entry.path)}")

    def _spend_bytes(self, count: int) -> None:
        self._report.bytes += count
        if self._report.bytes > self._limits.bytes:
            raise PullError(
                f"the tree has more than {self._limits.bytes} bytes, which is all that an image"
                " may have here (MaxImageSize)"
            )


def _entries(directory: int, path: bytes) -> Iterator[Entry]:
    prefix = path + b"/" if path else b""
    try:
        with os.scandir(directory) as found:
            names = sorted(os.fsencode(entry.name) for entry in found)
    except OSError as error:
        raise _unreadable(path, error) from error
    for name in names:
        try:
            status = os.stat(name, dir_fd=directory, follow_symlinks=False)
        except FileNotFoundError:
            raise _changed(prefix + name) from None
        except OSError as error:
            raise _unreadable(prefix + name, error) from error
        yield Entry(directory, name, prefix + name, status)


def _open(entry: Entry, flags: int) -> int:
    try:
        return os.open(entry.name, flags, dir_fd=entry.directory)
    except (FileNotFoundError, NotADirectoryError):
        raise _changed(entry.path) from None
    except OSError as error:
        if error.errno == errno.ELOOP:  # a symbolic link by now
            raise _changed(entry.path) from None
        raise _unreadable(entry.path, error) from error


def _require_shallow(depth: int, entry: Entry) -> None:
    if depth > _DEEPEST:
        raise PullError(f"the tree is more than {_DEEPEST} directories deep: {show(entry.path)}")


def _readable(descriptor: int, status: os.stat_result, path: bytes) -> int:
    try:
        return reopen_file(descriptor, status, show(path))
    except OSError as error:
        raise _unreadable(path, error) from error


def _padded(file: int, before: os.stat_result, path: bytes) -> Iterator[memoryview]:
    """The bytes of a file and those up to a whole block; it must be the same file at the end."""
    left = before.st_size
    while left:
        try:
            data = os.read(file, min(left, _CHUNK))
        except OSError as error:
            raise _unreadable(path, error) from error
        if not data:
            raise _changed(path)
        left -= len(data)
        yield memoryview(data)
    yield memoryview(bytes(-before.st_size % BLOCK))
    after = os.fstat(file)
    if (before.st_size, before.st_mtime_ns) != (after.st_size, after.st_mtime_ns):
        raise _changed(path)


def _mtime(status: os.stat_result) -> int:
    return max(0, min(int(status.st_mtime), _LATEST_MTIME))


def _kind_of(status: os.stat_result) -> int:
    if stat.S_ISCHR(status.st_mode) or stat.S_ISBLK(status.st_mode):
        return DEVICE
    return FIFO if stat.S_ISFIFO(status.st_mode) else OTHER


def _changed(path: bytes) -> PullError:
    return PullError(
        f"the tree changed while it was imported, at {show(path)}: try again when nothing writes"
        " there"
    )


def _unreadable(path: bytes, error: OSError) -> PullError:
    return PullError(
        f"the tree cannot be imported: the gateway may not read {show(path) if path else 'it'}:"
        f" {error.strerror}"
    )
