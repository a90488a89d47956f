# SPDX-License-Identifier: BSD-3-Clause
"""User namespaces that stand for "what is A's is shown as B's": see mount_setattr(2), ID-mapped.

Nothing ever runs in such a namespace. It is a table of ids that the kernel takes as a descriptor.
"""

from __future__ import annotations

import errno
import os

from shifter_runtime import syscalls

_ID_COUNT = 2**32 - 1  # the last number means no id


def open_namespace(owner: tuple[int, int], user: tuple[int, int]) -> int:
    """A descriptor of a namespace that swaps two users and two groups, given as (uid, gid).

    Swaps, since the kernel wants each id to mean one other; all others stay what they are.
    """
    ready, said = os.pipe()
    waiting, done = os.pipe()
    child = os.fork()
    if child == 0:
        _hold_namespace(ready, said, waiting, done)
    os.close(said)
    os.close(waiting)
    try:
        if not os.read(ready, 1):
            raise OSError(errno.ENOSPC, "the kernel gives no more of them", "user namespace")
        _write(f"/proc/{child}/uid_map", swapped(owner[0], user[0]))
        _write(f"/proc/{child}/gid_map", swapped(owner[1], user[1]))
        return os.open(f"/proc/{child}/ns/user", os.O_RDONLY | os.O_CLOEXEC)
    finally:
        os.close(ready)
        os.close(done)
        os.waitpid(child, 0)


def swapped(one: int, other: int) -> str:
    """The lines of a uid_map in which two ids mean each other."""
    low, high = sorted((one, other))
    if low == high:
        return f"0 0 {_ID_COUNT}\n"
    extents = (
        (0, 0, low),
        (low, high, 1),
        (low + 1, low + 1, high - low - 1),
        (high, low, 1),
        (high + 1, high + 1, _ID_COUNT - high - 1),
    )
    return "".join(f"{first} {shown} {count}\n" for first, shown, count in extents if count)


def _hold_namespace(ready: int, said: int, waiting: int, done: int) -> None:
    try:
        os.close(ready)
        os.close(done)
        syscalls.unshare_users()
        os.write(said, b"1")
        os.read(waiting, 1)
    finally:
        os._exit(0)


def _write(path: str, text: str) -> None:
    fd = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
    try:
        os.write(fd, text.encode())
    finally:
        os.close(fd)
