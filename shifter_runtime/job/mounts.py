# SPDX-License-Identifier: BSD-3-Clause
"""What is mounted on the node at and below a directory, compared by component."""

from __future__ import annotations

import os

from shifter_runtime import syscalls, trust

_TABLE = "/proc/self/mountinfo"
_ESCAPES = ((b"\\040", b" "), (b"\\011", b"\t"), (b"\\012", b"\n"), (b"\\134", b"\\"))
_ATTEMPTS = 10
_PAUSE = 100_000  # microseconds


def table() -> list[tuple[str, list[str]]]:
    """Each mount point that this process sees, with what is set for it, as they were mounted."""
    return [(_unescaped(each[4]), os.fsdecode(each[5]).split(",")) for each in _fields()]


def below(path: str) -> list[str]:
    """The mount points at and below `path`, in the order of their mounting."""
    return [point for point, _ in table() if f"{point}/".startswith(f"{path}/")]


def devices_at(path: str) -> set[int]:
    """The devices of what is mounted at `path`, one upon the other."""
    devices = [each[2].split(b":") for each in _fields() if _unescaped(each[4]) == path]
    return {os.makedev(int(major), int(minor)) for major, minor in devices}


def detach_all(path: str) -> list[str]:
    """Detach everything at and below `path`; what is left in spite of that.

    What is mounted at `path` takes along what is below it. No other name is looked up in a
    container's tree, where users may move directories and put links in their place.
    """
    for attempt in range(_ATTEMPTS):
        if attempt:
            syscalls.sleep(_PAUSE)
        points = below(path)
        try:
            while points:
                syscalls.detach_mount(path if path in points else points[-1])
                points = below(path)
        except OSError:
            continue
        return []
    return below(path)


def _fields() -> list[list[bytes]]:
    """The lines of the kernel's table: proc_pid_mountinfo(5)."""
    fd = os.open(_TABLE, os.O_RDONLY | os.O_CLOEXEC)
    try:
        return [line.split(b" ") for line in trust.read_all(fd, _TABLE).splitlines()]
    finally:
        os.close(fd)


def _unescaped(text: bytes) -> str:
    for written, meant in _ESCAPES:
        text = text.replace(written, meant)
    return os.fsdecode(text)
