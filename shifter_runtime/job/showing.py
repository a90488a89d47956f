# SPDX-License-Identifier: BSD-3-Clause
"""The tree of a prepared container as the node shows it on udiMount, and whose that is.

There is one such place, and so one container at a time that is shown. A file in its directory says
so: it is written before anything is mounted, and names the device of the container's root, which no
other filesystem has while the container is kept. So the one who takes it down is sure of it, also
where another was killed.
"""

from __future__ import annotations

import os

from shifter_runtime import syscalls
from shifter_runtime.config import RuntimeConfig
from shifter_runtime.job import mounts, state
from shifter_runtime.job.joining import NODE
from shifter_runtime.job.record import device_at

_MARK = "shown"
_LOCK = "/udiMount"  # which no job can be called


def show(name: str, tree: int, device: int, config: RuntimeConfig) -> bool:
    """Mount a container's tree on udiMount, unless something is there; whether that was done."""
    with state.Lock(_LOCK):
        if mounts.below(config.udi_mount):
            return False
        _write_mark(name, device)
        _mount(tree, config.udi_mount)
    return True


def hide(name: str, config: RuntimeConfig) -> list[str]:
    """Unmount a container from udiMount, if it is the one there; what is left in spite of that.

    Must run before its namespace is let go: until then, its device is nobody else's.
    """
    with state.Lock(_LOCK):
        left = mounts.detach_all(config.udi_mount) if _is_shown(name, config) else []
        if not left:
            _remove_mark(name)
        return left


def clear(config: RuntimeConfig) -> list[str]:
    """Unmount whatever is on udiMount, unless it is the container of a job; what is left."""
    with state.Lock(_LOCK):
        if owner(config) not in (NODE, None):
            return []
        return mounts.detach_all(config.udi_mount)


def owner(config: RuntimeConfig) -> str | None:
    """The name of the container that is shown."""
    for name in state.names():
        if _is_shown(name, config):
            return name
    return None


def _is_shown(name: str, config: RuntimeConfig) -> bool:
    device = _read_mark(name)
    if device is None:
        return False
    found = mounts.devices_at(config.udi_mount)
    # Somebody who was killed halfway has mounted no more than the directory on itself.
    return device in found or found == {device_at(os.path.dirname(config.udi_mount))}


def _write_mark(name: str, device: int) -> None:
    flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC
    fd = os.open(f"{state.place_of(name)}/{_MARK}", flags, 0o600)
    try:
        os.write(fd, str(device).encode())
    finally:
        os.close(fd)


def _read_mark(name: str) -> int | None:
    """The device that was to be shown, 0 where somebody was killed before it was written down."""
    try:
        fd = os.open(f"{state.place_of(name)}/{_MARK}", os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    try:
        return int(os.read(fd, 32) or b"0")
    finally:
        os.close(fd)


def _remove_mark(name: str) -> None:
    try:
        os.unlink(f"{state.place_of(name)}/{_MARK}")
    except FileNotFoundError:
        return


def _mount(tree: int, place: str) -> None:
    """Mount a tree on `place`, all at once.

    What is mounted on a shared mount is copied to every namespace that shares it. So a private
    mount of the directory itself goes between.
    """
    for mount in (_bound_on_itself(place), tree):
        target = os.open(place, os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
        syscalls.attach(mount, target, place)
        os.close(target)
        syscalls.set_attributes(
            mount, 0, recursive=False, propagation=syscalls.MS_PRIVATE, name=place
        )


def _bound_on_itself(place: str) -> int:
    os.makedirs(place, 0o755, exist_ok=True)
    directory = os.open(place, os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    mount = syscalls.clone_tree(directory, recursive=False, name=place)
    os.close(directory)
    return mount
