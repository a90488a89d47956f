# SPDX-License-Identifier: BSD-3-Clause
"""A control group for processes that must end together, whatever they do to get away.

A user's process can leave its session, its parent and even its mount namespace, but no control
group. It is made below the group that this process is in, so that all limits there hold, in the
kernel's one hierarchy of version 2. That is always there, also where nobody has mounted it and
controllers are in version 1; it is used through a mount that is attached nowhere.
"""

from __future__ import annotations

import errno
import os

from shifter_runtime import process_calls, syscalls, trust

_ATTEMPTS = 500
_PAUSE = 10_000  # microseconds


class Group:
    """A control group, known by where it is and by its number, which no other ever gets."""

    __slots__ = ("number", "path")

    def __init__(self, path: str, number: int) -> None:
        self.path = path
        self.number = number

    def add(self, process: int) -> None:
        _write(self, "cgroup.procs", str(process))

    def end(self) -> bool:
        """Kill everything in it and remove it; whether nothing is left."""
        try:
            _write(self, "cgroup.kill", "1")
            at_once = True
        except FileNotFoundError:
            if not self._is_there():
                return True
            at_once = False  # Linux has this since 5.14
        for _ in range(_ATTEMPTS):
            for number in () if at_once else self.processes():
                self._kill(number)
            if self._remove():
                return True
            syscalls.sleep(_PAUSE)
        return False

    def processes(self) -> list[int]:
        try:
            directory = _open(self)
        except FileNotFoundError:
            return []
        try:
            fd = os.open("cgroup.procs", os.O_RDONLY | os.O_CLOEXEC, dir_fd=directory)
        finally:
            os.close(directory)
        try:
            return [int(word) for word in trust.read_all(fd, "cgroup.procs").split()]
        except OSError:  # the group is just going
            return []
        finally:
            os.close(fd)

    def _kill(self, number: int) -> None:
        try:
            process = os.pidfd_open(number)
        except ProcessLookupError:
            return
        try:
            # Asked again: by now, the number might have been somebody else's.
            if number in self.processes():
                process_calls.signal_process(process, syscalls.SIGKILL)
        except ProcessLookupError:
            return
        finally:
            os.close(process)

    def _is_there(self) -> bool:
        try:
            os.close(_open(self))
        except FileNotFoundError:
            return False
        return True

    def _remove(self) -> bool:
        if not self._is_there():
            return True
        parent, _, name = self.path.rpartition("/")
        root = _root()
        try:
            directory = _directory(root, parent)
            try:
                os.rmdir(name, dir_fd=directory)
            finally:
                os.close(directory)
        except FileNotFoundError:
            return True
        except OSError as error:
            if error.errno != errno.EBUSY:
                raise
            return False
        finally:
            os.close(root)
        return True


def make(name: str) -> Group | None:
    """A new group below this process's own; None where the kernel lends none."""
    try:
        own = _own()
        root = _root()
    except OSError:
        return None
    path = f"{own.rstrip('/')}/{name}"
    try:
        parent = _directory(root, own)
        try:
            _replace(name, parent)
        finally:
            os.close(parent)
        directory = _directory(root, path)
    except OSError:
        return None
    finally:
        os.close(root)
    number = os.fstat(directory).st_ino
    os.close(directory)
    return Group(path, number)


def _replace(name: str, parent: int) -> None:
    """Somebody who was killed may have left an empty one; what is not empty stays, and fails."""
    try:
        os.mkdir(name, 0o755, dir_fd=parent)
    except FileExistsError:
        os.rmdir(name, dir_fd=parent)
        os.mkdir(name, 0o755, dir_fd=parent)


def _own() -> str:
    fd = os.open("/proc/self/cgroup", os.O_RDONLY | os.O_CLOEXEC)
    try:
        lines = os.fsdecode(trust.read_all(fd, "/proc/self/cgroup")).split("\n")
    finally:
        os.close(fd)
    for line in lines:
        if line.startswith("0::/"):
            return line[len("0::") :]
    raise FileNotFoundError(errno.ENOENT, "no control groups of version 2", "/proc/self/cgroup")


def _root() -> int:
    return syscalls.make_filesystem("cgroup2", (), 0)


def _directory(root: int, path: str) -> int:
    flags = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
    return os.open("./" + path.strip("/"), flags, dir_fd=root)


def _open(group: Group) -> int:
    """Its directory, if it is still that group."""
    root = _root()
    try:
        directory = _directory(root, group.path)
    finally:
        os.close(root)
    if os.fstat(directory).st_ino != group.number:
        os.close(directory)
        raise FileNotFoundError(errno.ENOENT, "another control group has this name", group.path)
    return directory


def _write(group: Group, name: str, text: str) -> None:
    directory = _open(group)
    try:
        fd = os.open(name, os.O_WRONLY | os.O_CLOEXEC, dir_fd=directory)
    finally:
        os.close(directory)
    try:
        os.write(fd, text.encode())
    finally:
        os.close(fd)
