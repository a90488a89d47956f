# SPDX-License-Identifier: BSD-3-Clause
"""May root rely on this file? Only if nobody but root can change it, or what leads to it."""

from __future__ import annotations

import os
import stat

from shifter_runtime.errors import SetupError, UntrustedPathError

_MOST_LINKS = 16
_MOST_BYTES = 16 << 20
_PIECE = 1 << 20


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
    if not path.startswith("/"):
        raise UntrustedPathError(f"{path!r} is not an absolute path")
    names = path.split("/")[::-1]
    directory = _open_directory("/", None, path)
    links = 0
    try:
        while True:
            name = names.pop()
            if name in ("", "."):
                continue
            is_last = not any(names)
            try:
                fd = _open_name(name, directory, path, is_last=is_last)
            except _IsLinkError as link:
                links += 1
                if links > _MOST_LINKS:
                    raise UntrustedPathError(f"{path}: too many symbolic links") from None
                names.extend(link.target.split("/")[::-1])
                if link.target.startswith("/"):
                    os.close(directory)
                    directory = _open_directory("/", None, path)
                continue
            if is_last:
                return fd
            os.close(directory)
            directory = fd
    finally:
        os.close(directory)


class _IsLinkError(Exception):
    def __init__(self, target: str) -> None:
        super().__init__(target)
        self.target = target


def _open_directory(name: str, parent: int | None, path: str) -> int:
    flags = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
    try:
        fd = os.open(name, flags, dir_fd=parent)
    except OSError as error:
        raise UntrustedPathError(f"cannot open {path}: {error.strerror}") from error
    _require_only_root_writes(fd, path, name)
    return fd


def _open_name(name: str, directory: int, path: str, *, is_last: bool) -> int:
    try:
        found = os.stat(name, dir_fd=directory, follow_symlinks=False)
        if stat.S_ISLNK(found.st_mode):
            if found.st_uid != 0:
                raise UntrustedPathError(f"{path}: the symbolic link {name!r} is not root's")
            raise _IsLinkError(os.readlink(name, dir_fd=directory))
        if not is_last:
            return _open_directory(name, directory, path)
        # O_NONBLOCK: a FIFO must not keep root waiting.
        flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK
        fd = os.open(name, flags, dir_fd=directory)
    except OSError as error:
        raise UntrustedPathError(f"cannot open {path}: {error.strerror}") from error
    if not stat.S_ISREG(os.fstat(fd).st_mode):
        os.close(fd)
        raise UntrustedPathError(f"{path} is not a regular file")
    _require_only_root_writes(fd, path, name)
    return fd


def _require_only_root_writes(fd: int, path: str, name: str) -> None:
    found = os.fstat(fd)
    problem = ""
    if found.st_uid != 0:
        problem = f"belongs to user {found.st_uid}, not to root"
    elif found.st_mode & 0o022 and not (
        stat.S_ISDIR(found.st_mode) and found.st_mode & stat.S_ISVTX
    ):
        problem = f"is writable by others than root (mode {stat.S_IMODE(found.st_mode):04o})"
    if problem:
        os.close(fd)
        shown = path if path.endswith("/" + name) else f"{path}: {name!r} on the way to it"
        raise UntrustedPathError(
            f"{shown} {problem}, so Shifter cannot rely on it: ask the administrator to correct it"
        )
