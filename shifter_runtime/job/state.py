# SPDX-License-Identifier: BSD-3-Clause
"""Where prepared containers are kept on a node, and who may change that at a time.

STATE_DIRECTORY is a filesystem in memory, whose mount is private: the kernel keeps mount namespaces
on no other. It is there while anything is kept, and gone with the last. Below it, each container
has a directory; one without a record was left by somebody who was killed.
"""

from __future__ import annotations

import errno
import os
import stat

from shifter_runtime import loop, process_calls, syscalls
from shifter_runtime.errors import SetupError
from shifter_runtime.job.joining import (
    NAMESPACE,
    NODE,
    RECORD,
    STATE_DIRECTORY,
    called,
    is_job_id,
)
from shifter_runtime.job.record import Record, read

_LOCK = loop.STATE_DIRECTORY + "/udi.lock"
_PATIENCE = 60_000  # milliseconds
_PAUSE = 10
_OFFSET_BITS = 61
_RESTRICTIONS = syscalls.MOUNT_ATTR_NOSUID | syscalls.MOUNT_ATTR_NODEV | syscalls.MOUNT_ATTR_NOEXEC


class Lock:
    """One container's, while it is made or removed; without a name, that of the directory.

    It ends with its holder, however that dies, and leaves nothing but one file for all.
    """

    def __init__(self, name: str | None = None) -> None:
        self._name = name
        self._fd = -1

    def __enter__(self) -> None:
        _make_directory(loop.STATE_DIRECTORY)
        flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
        self._fd = os.open(_LOCK, flags, 0o600)
        position = 0 if self._name is None else _position(self._name)
        for _ in range(_PATIENCE // _PAUSE):
            if process_calls.try_to_lock_byte(self._fd, position, _LOCK):
                return
            syscalls.sleep(_PAUSE * 1000)
        os.close(self._fd)
        raise SetupError(
            f"another setupRoot or unsetupRoot has been busy with "
            f"{self._what()} for "
            f"{_PATIENCE // 1000} seconds: see what keeps it, and try again"
        )

    def __exit__(self, *failure: object) -> None:
        os.close(self._fd)

    def _what(self) -> str:
        if self._name is None:
            return STATE_DIRECTORY
        return called(self._name) if "/" not in self._name else self._name[1:]


def place_of(name: str) -> str:
    return f"{STATE_DIRECTORY}/{name}"


def make(name: str) -> str:
    """A new directory for a container; the caller holds both locks."""
    _make_directory(STATE_DIRECTORY)
    if not _is_mounted():
        mount = syscalls.make_filesystem(
            "tmpfs", (("mode", "0700"), ("size", "64m")), _RESTRICTIONS
        )
        _attach(mount, STATE_DIRECTORY)
        os.close(mount)
    # Again, where somebody was killed after the first half of it.
    fd = os.open(STATE_DIRECTORY, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    syscalls.set_attributes(
        fd, 0, recursive=False, propagation=syscalls.MS_PRIVATE, name=STATE_DIRECTORY
    )
    os.close(fd)
    os.mkdir(place_of(name), 0o700)
    return place_of(name)


def names() -> list[str]:
    """What containers are kept as, finished or not."""
    try:
        found = os.listdir(STATE_DIRECTORY)
    except FileNotFoundError:
        return []
    return sorted(name for name in found if name == NODE or is_job_id(name))


def exists(name: str) -> bool:
    return os.path.isdir(place_of(name))


def keep_namespace(name: str, namespace: int) -> None:
    """Hold a mount namespace that no process is in, by mounting it on a file."""
    path = f"{place_of(name)}/{NAMESPACE}"
    os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
    mount = syscalls.clone_tree(namespace, recursive=False, name=path)
    _attach(mount, path)
    os.close(mount)


def release_namespace(name: str) -> None:
    """Let go of it; it ends with the last process inside."""
    path = f"{place_of(name)}/{NAMESPACE}"
    while _number_of(path):
        syscalls.detach_mount(path)


def write_record(name: str, record: Record) -> None:
    """From here on, launches join."""
    path = f"{place_of(name)}/{RECORD}"
    fd = os.open(path + ".new", os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    content = record.to_text().encode("utf-8", "surrogateescape")
    try:
        while content:
            content = content[os.write(fd, content) :]
    finally:
        os.close(fd)
    os.rename(path + ".new", path)


def read_record(name: str) -> Record | None:
    """What is kept, if its namespace still is."""
    try:
        fd = os.open(f"{place_of(name)}/{RECORD}", os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return None
    record = read(fd)
    if record is None or _number_of(f"{place_of(name)}/{NAMESPACE}") != record.namespace:
        return None
    return record


def remove_record(name: str) -> None:
    """From here on, nobody joins."""
    try:
        os.unlink(f"{place_of(name)}/{RECORD}")
    except FileNotFoundError:
        return


def forget(name: str) -> None:
    """Remove a container's directory, and with the last the filesystem; under both locks."""
    _remove_tree(place_of(name))
    if _is_mounted() and not os.listdir(STATE_DIRECTORY):
        # The directory below stays. Where else it is a mount point, removing it would unmount.
        syscalls.detach_mount(STATE_DIRECTORY)


def _position(name: str) -> int:
    """A byte of the lock file for each name; that two share one does no harm."""
    value = 0xCBF29CE484222325
    for byte in name.encode():  # FNV-1a
        value = (value ^ byte) * 0x100000001B3 & (1 << 64) - 1
    return 1 + value % (1 << _OFFSET_BITS)


def _make_directory(path: str) -> None:
    try:
        os.mkdir(path, 0o700)
    except FileExistsError:
        found = os.stat(path, follow_symlinks=False)
        if not stat.S_ISDIR(found.st_mode) or found.st_uid != 0 or found.st_mode & 0o022:
            raise SetupError(f"{path} is not a directory that only root can write to") from None


def _is_mounted() -> bool:
    try:
        device = os.stat(STATE_DIRECTORY, follow_symlinks=False).st_dev
    except FileNotFoundError:
        return False
    return device != os.stat(loop.STATE_DIRECTORY).st_dev


def _attach(mount: int, path: str) -> None:
    target = os.open(path, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC)
    syscalls.attach(mount, target, path)
    os.close(target)


def _number_of(path: str) -> int:
    """The inode of the namespace that is kept at `path`; 0 where there is none."""
    try:
        found = os.stat(path, follow_symlinks=False)
        around = os.stat(os.path.dirname(path), follow_symlinks=False)
    except FileNotFoundError:
        return 0
    return found.st_ino if found.st_dev != around.st_dev else 0


def _remove_tree(path: str) -> None:
    try:
        names = os.listdir(path)
    except FileNotFoundError:
        return
    for name in names:
        entry = f"{path}/{name}"
        if stat.S_ISDIR(os.stat(entry, follow_symlinks=False).st_mode):
            _remove_tree(entry)
        else:
            try:
                os.unlink(entry)
            except OSError as error:
                if error.errno != errno.EBUSY:
                    raise
                raise SetupError(f"{entry} is still mounted") from error
    os.rmdir(path)
