# SPDX-License-Identifier: BSD-3-Clause
"""An empty filesystem in memory that the user wants somewhere in the container."""

from __future__ import annotations

import os

from shifter_runtime import syscalls
from shifter_runtime.errors import VolumeError
from shifter_runtime.identity import Identity
from shifter_runtime.operations.target import open_for
from shifter_runtime.udi import Udi


class MountTmpfs:
    """Mount an empty filesystem of the user's own; it ends with the container.

    `size` is in bytes; without one, half of the node's memory can be filled.
    """

    def __init__(self, target: str, user: Identity, size: int | None) -> None:
        self.target = target
        self.user = user
        self.size = size

    def __str__(self) -> str:
        size = "" if self.size is None else f"size={self.size},"
        return f"mount tmpfs on {self.target} for {self.user.name} ({size}rw,nosuid,nodev)"

    def execute(self, udi: Udi) -> None:
        target = open_for(
            self.user, udi, self.target, is_directory=True, what="target of --mount tmpfs"
        )
        options: tuple[tuple[str, str | None], ...] = (
            ("mode", "0700"),
            ("uid", str(self.user.uid)),
            ("gid", str(self.user.gid)),
            *size_option(self.size, f"--mount tmpfs:{self.target}"),
        )
        mount = syscalls.make_filesystem("tmpfs", options, syscalls.NOSUID_NODEV)
        syscalls.attach(mount, target, self.target)
        udi.give(mount, self.user)
        os.close(target)
        os.close(mount)


def size_option(size: int | None, what: str) -> tuple[tuple[str, str | None], ...]:
    """The limit of a tmpfs, if there is one; `what` asked for it."""
    if size is None:
        return ()
    memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    if not 0 < size <= memory:
        raise VolumeError(
            f"{what}: a size of {size} bytes cannot be had: it must be above 0 and at most this "
            f"node's memory, which is {memory >> 20}M"
        )
    return (("size", str(size)),)
