# SPDX-License-Identifier: BSD-3-Clause
"""The tree of a prepared container as the node shows it on udiMount, and whose that is.

There is one such place, and so one container at a time that is shown. A file in its directory says
so: it is written before anything is mounted, and names the device of the container's root, which no
other filesystem has while the container is kept, and the place. So the one who takes it down is
sure of it, also where another was killed, or where udiMount has been changed meanwhile.
"""

from __future__ import annotations

import os

from shifter_runtime import syscalls
from shifter_runtime.config import RuntimeConfig
from shifter_runtime.job import mounts, state
from shifter_runtime.job.joining import NODE
from shifter_runtime.job.record import device_at

_MARK = "shown"
_LONGEST_MARK = 4096 + 32  # a path, and a number
_LOCK = "/udiMount"  # which no job can be called


def show(name: str, tree: int, device: int, config: RuntimeConfig) -> bool:
    """Mount a container's tree on udiMount, unless something is there; whether that was done."""
    with state.Lock(_LOCK):
        if mounts.below(config.udi_mount):
            return False
        _write_mark(name, device, config.udi_mount)
        _mount(tree, config.udi_mount)
    return True


def hide(name: str) -> list[str]:
    """Unmount a container from where it is shown, if it is; what is left in spite of that.

    Must run before its namespace is let go: until then, its device is nobody else's.
    """
    with state.Lock(_LOCK):
        place = _place_of(name)
        left = mounts.detach_all(place) if place is not None else []
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
        if _place_of(name) == config.udi_mount:
            return name
    return None


def _place_of(name: str) -> str | None:
    """Where a container is shown."""
    device, place = _read_mark(name)
    found = mounts.devices_at(place) if place else set()
    # Somebody who was killed halfway has mounted no more than the directory on itself.
    if device in found or (found and found == {device_at(os.path.dirname(place))}):
        return place
    return None


def _write_mark(name: str, device: int, place: str) -> None:
    flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC
    fd = os.open(f"{state.place_of(name)}/{_MARK}", flags, 0o600)
    try:
        os.write(fd, os.fsencode(f"{device} {place}"))
    finally:
        os.close(fd)


def _read_mark(name: str) -> tuple[int, str]:
    """The device that was to be shown, and the place, empty where nothing was to be."""
    try:
        fd = os.open(f"{state.place_of(name)}/{_MARK}", os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return 0, ""
    try:
        device, _, place = os.fsdecode(os.read(fd, _LONGEST_MARK)).partition(" ")
    finally:
        os.close(fd)
    return int(device or "0"), place


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
