# SPDX-License-Identifier: BSD-3-Clause
"""Take down a prepared container, or what somebody who was killed left of one."""

from __future__ import annotations

import os

from shifter_runtime.config import RuntimeConfig
from shifter_runtime.errors import SetupError
from shifter_runtime.job import mounts, sshd, state
from shifter_runtime.job.joining import NAMESPACE, NODE

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator


def remove(name: str, config: RuntimeConfig) -> None:
    """Leave nothing of it on the node; the caller holds its lock.

    Whoever is inside stays there, in a namespace or tree that ends with the last of them. Where
    this was cut short before, doing it again does the rest.
    """
    left: list[str] = []
    if state.exists(name):
        state.remove_record(name)
        sshd.stop(state.place_of(name))
        state.release_namespace(name)
    if name == NODE:
        left = mounts.detach_all(config.udi_mount) + mounts.detach_all(config.loop_mount)
    if left:
        raise SetupError(
            f"still mounted, in spite of all attempts: {', '.join(left)}: unmount by hand"
        )
    with state.Lock():
        state.forget(name)


def processes_in(name: str) -> Iterator[tuple[int, str]]:
    """Number and name of each process that is inside."""
    try:
        wanted = os.stat(f"{state.place_of(name)}/{NAMESPACE}")
    except OSError:
        return
    for word in os.listdir("/proc"):
        if not word.isdecimal():
            continue
        try:
            found = os.stat(f"/proc/{word}/ns/mnt")
            with open(f"/proc/{word}/comm", encoding="utf-8", errors="replace") as file:
                title = file.read(64).strip()
        except OSError:
            continue  # it has ended
        if (found.st_dev, found.st_ino) == (wanted.st_dev, wanted.st_ino):
            yield int(word), title
