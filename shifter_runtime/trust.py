# SPDX-License-Identifier: BSD-3-Clause
"""May root rely on this file? Only if nobody but root can change it, or what leads to it."""

from __future__ import annotations

import os
import stat

from shifter_runtime.errors import SetupError, UntrustedPathError

_MOST_LINKS = 16
_MOST_BYTES = 16 << 20
_PIECE = 1 << 20
_MOST_ENTRIES = 20_000  # of a tree: each costs every launch a microsecond or more
_MOST_WAITING = 500  # directories that are open at once

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable


def read(path: str) -> str:
    """The text of a file that only root can change; what is checked is what is read."""
    fd = open_untouchable(path)
    try:
        return read_all(fd, path).decode("utf-8", "surrogateescape")
    finally:
        os.close(fd)


def read_all(fd: int, path: str) -> bytes:
    """Everything a descriptor still gives; more than Shifter reads of any file is refused.

    Half a file is worse than none: the half that is missing may be what keeps somebody out.
    """
    pieces = []
    left = _MOST_BYTES
    while piece := os.read(fd, _PIECE):
        pieces.append(piece)
        left -= len(piece)
        if left < 0:
            raise SetupError(f"{path} is too large: at most {_MOST_BYTES} bytes are read")
    return b"".join(pieces)


def open_untouchable(path: str) -> int:
    """Open a regular file for reading, going down from `/` by descriptors.

    Every directory on the way, and every one that a symbolic link leads through, must belong to
    root and be writable by nobody else. A sticky directory such as /tmp will do, since there
    nobody can replace what is root's.
    """
    return _descend(path, _open_file)


def open_mount_point(path: str) -> int:
    """A descriptor (O_PATH) of a directory that nobody but root can put another in the place of.

    What is mounted there may be anybody's.
    """
    return _descend(path, _open_mount_point)


def make_mount_point(path: str) -> None:
    """Make the directory `path` and those above it that are missing, where only root can write."""
    parent, _, name = path.rpartition("/")
    if not parent:
        directory = _open_directory("/", None, path)
    else:
        try:
            directory = _descend(parent, _open_directory)
        except UntrustedPathError as error:
            if not isinstance(error.__cause__, FileNotFoundError):
                raise
            make_mount_point(parent)
            directory = _descend(parent, _open_directory)
    try:
        os.mkdir(name, 0o755, dir_fd=directory)
    except FileExistsError:
        return  # by another launch
    finally:
        os.close(directory)


def open_untouchable_tree(path: str) -> int:
    """Open a directory in which nobody but root can change anything, however deep."""
    fd = _descend(path, _open_directory)
    try:
        _require_only_root_writes_below(fd, path)
    except BaseException:
        os.close(fd)
        raise
    return fd


def _descend(path: str, open_last: Callable[[str, int | None, str], int]) -> int:
    if not path.startswith("/"):
        raise UntrustedPathError(f"{path!r} is not an absolute path")
    names = _parts(path)
    directory = _open_directory("/", None, path)
    links = 0
    try:
        while names:
            name = names.pop()
            try:
                fd = _open_name(name, directory, path, _open_directory if names else open_last)
            except _IsLinkError as link:
                links += 1
                if links > _MOST_LINKS:
                    raise UntrustedPathError(f"{path}: too many symbolic links") from None
                names.extend(_parts(link.target))
                if link.target.startswith("/"):
                    os.close(directory)
                    directory = _open_directory("/", None, path)
                continue
            if not names:
                return fd
            os.close(directory)
            directory = fd
    finally:
        os.close(directory)
    raise UntrustedPathError(f"{path} is the root directory: name something in it")


def _parts(path: str) -> list[str]:
    """The names in a path, last first."""
    return [name for name in path.split("/")[::-1] if name not in ("", ".")]


class _IsLinkError(Exception):
    def __init__(self, target: str) -> None:
        super().__init__(target)
        self.target = target


def _open(name: str, flags: int, parent: int | None, path: str) -> int:
    try:
        return os.open(name, flags | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=parent)
    except OSError as error:
        raise UntrustedPathError(f"cannot open {path}: {error.strerror}") from error


def _open_directory(name: str, parent: int | None, path: str) -> int:
    fd = _open(name, os.O_RDONLY | os.O_DIRECTORY, parent, path)
    _require_only_root_writes(fd, path, name)
    return fd


def _open_name(
    name: str, directory: int, path: str, open_it: Callable[[str, int | None, str], int]
) -> int:
    try:
        found = os.stat(name, dir_fd=directory, follow_symlinks=False)
        target = os.readlink(name, dir_fd=directory) if stat.S_ISLNK(found.st_mode) else None
    except OSError as error:
        raise UntrustedPathError(f"cannot open {path}: {error.strerror}") from error
    if target is None:
        return open_it(name, directory, path)
    if found.st_uid != 0:
        raise UntrustedPathError(f"{path}: the symbolic link {name!r} is not root's")
    raise _IsLinkError(target)


def _open_file(name: str, directory: int | None, path: str) -> int:
    # O_NONBLOCK: a FIFO must not keep root waiting.
    fd = _open(name, os.O_RDONLY | os.O_NONBLOCK, directory, path)
    if not stat.S_ISREG(os.fstat(fd).st_mode):
        os.close(fd)
        raise UntrustedPathError(f"{path} is not a regular file")
    _require_only_root_writes(fd, path, name)
    return fd


def _open_mount_point(name: str, parent: int | None, path: str) -> int:
    fd = _open(name, os.O_PATH | os.O_DIRECTORY, parent, path)
    owner = os.fstat(fd).st_uid
    if parent is not None and owner != 0 and os.fstat(parent).st_mode & 0o022:
        os.close(fd)
        raise _untrusted(path, f"belongs to user {owner}, who can replace it")
    return fd


def _require_only_root_writes(fd: int, path: str, name: str) -> None:
    found = os.fstat(fd)
    sticky = stat.S_ISDIR(found.st_mode) and bool(found.st_mode & stat.S_ISVTX)
    problem = _problem(found, may_be_shared=sticky)
    if problem:
        os.close(fd)
        last = path.rstrip("/").endswith("/" + name)
        raise _untrusted(path if last else f"{path}: {name!r} on the way to it", problem)


def _require_only_root_writes_below(fd: int, path: str) -> None:
    """Look at each entry below a directory, by descriptors; what is mounted there is left out."""
    # A sticky one will do on the way, but in this one others could make entries later.
    problem = _problem(os.fstat(fd), may_be_shared=False)
    if problem:
        raise _untrusted(path, problem)
    device = os.fstat(fd).st_dev
    left = _MOST_ENTRIES
    waiting = [(os.dup(fd), path)]
    try:
        while waiting:
            directory, place = waiting.pop()
            try:
                left -= _look_into(directory, place, device, waiting)
            finally:
                os.close(directory)
            if left < 0 or len(waiting) > _MOST_WAITING:
                raise UntrustedPathError(
                    f"{path} holds more than can be checked at each launch (at most "
                    f"{_MOST_ENTRIES} entries, {_MOST_WAITING} directories in one): share a tree "
                    "of that size by siteFs"
                )
    finally:
        for directory, _ in waiting:
            os.close(directory)


def _look_into(directory: int, place: str, device: int, waiting: list[tuple[int, str]]) -> int:
    """Check the entries of one directory, and open the directories in it; how many entries."""
    count = 0
    with os.scandir(directory) as entries:
        for entry in entries:
            count += 1
            if count > _MOST_ENTRIES or len(waiting) > _MOST_WAITING:
                break
            name = f"{place}/{entry.name}"
            found = entry.stat(follow_symlinks=False)
            # The mode of a symbolic link means nothing.
            problem = _problem(found, may_be_shared=stat.S_ISLNK(found.st_mode))
            if problem:
                raise _untrusted(name, problem)
            if stat.S_ISDIR(found.st_mode) and found.st_dev == device:
                waiting.append((_open_directory(entry.name, directory, name), name))
    return count


def _problem(found: os.stat_result, *, may_be_shared: bool) -> str:
    if found.st_uid != 0:
        return f"belongs to user {found.st_uid}, not to root"
    if found.st_mode & 0o022 and not may_be_shared:
        return f"is writable by others than root (mode {stat.S_IMODE(found.st_mode):04o})"
    return ""


def _untrusted(shown: str, problem: str) -> UntrustedPathError:
    return UntrustedPathError(
        f"{shown} {problem}, so Shifter cannot rely on it: ask the administrator to correct it"
    )
