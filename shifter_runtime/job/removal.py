# SPDX-License-Identifier: BSD-3-Clause
"""Take down a prepared container, or what somebody who was killed left of one."""

from __future__ import annotations

from shifter_runtime.config import RuntimeConfig
from shifter_runtime.errors import SetupError
from shifter_runtime.job import mounts, showing, sshd, state
from shifter_runtime.job.joining import NODE


def remove(name: str, config: RuntimeConfig) -> None:
    """Leave nothing of it on the node; the caller holds its lock.

    Whoever is inside stays there, in a namespace or tree that ends with the last of them. Where
    this was cut short before, doing it again does the rest.
    """
    left: list[str] = []
    if state.exists(name):
        state.remove_record(name)
        sshd.stop(state.place_of(name))
        left = showing.hide(name)
        state.release_namespace(name)
    if name == NODE:
        left += showing.clear(config) + mounts.detach_all(config.loop_mount)
    if left:
        raise SetupError(
            f"still mounted, in spite of all attempts: {', '.join(left)}: unmount by hand"
        )
    with state.Lock():
        state.forget(name)
