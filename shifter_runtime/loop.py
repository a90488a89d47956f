# SPDX-License-Identifier: BSD-3-Clause
"""Loop devices: one per image file and node, shared by every launch. See loop(4).

Two mounts of one block device share a superblock, so the second of them costs almost nothing. A
device belongs to a file when device and inode number of what it is backed by are those of the
file: the kernel holds that inode, so its number cannot come to mean another file meanwhile.
"""

from __future__ import annotations

import errno
import os
import sys

from shifter_runtime import syscalls
from shifter_runtime.errors import SetupError

STATE_DIRECTORY = "/run/shifter"
_LOCK = STATE_DIRECTORY + "/loop.lock"
_CONTROL = "/dev/loop-control"
_ATTEMPTS = 200
_PAUSE = 2000  # microseconds between two tries to get the lock
_PATIENCE = 500  # tries
_NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EROFS)
_INFO_SIZE = 232  # struct loop_info64
_DIRECT_BLOCK = 4096
_CONFIG_RESERVED = 64  # struct loop_config: fd, block_size, info, reserved[8]


class LoopDevice:
    """A device backed by a file; it stays while `fd` or a mount holds it."""

    __slots__ = ("fd", "is_new", "path")

    def __init__(self, path: str, fd: int, *, is_new: bool) -> None:
        self.path = path
        self.fd = fd
        self.is_new = is_new  # made for this launch, not found


def attach(image: int) -> LoopDevice:
    """The device backed by the file that the descriptor `image` is open on, made if there is none.

    The caller holds `LoopDevice.fd` until the device is mounted: a device that nothing holds is
    released by the kernel (LO_FLAGS_AUTOCLEAR).
    """
    device = _find(image)
    lock = None if device else _open_lock()
    for _ in range(_PATIENCE):
        if lock is None or device or syscalls.try_to_lock(lock, _LOCK):
            break
        syscalls.sleep(_PAUSE)
        device = _find(image)
    try:
        return device or _find(image) or _configure(image, syscalls.LOOP_READ_ONLY)
    finally:
        if lock is not None:
            os.close(lock)


def attach_writable(file: int, *, direct: bool) -> LoopDevice:
    """A new device that writes to the file which the descriptor `file` is open on.

    With `direct`, past the page cache: what is cached above the device is not cached again, and
    is read in large pieces. The kernel does without where the file's filesystem cannot.
    """
    return _configure(file, syscalls.LOOP_DIRECT_IO if direct else 0)


def _find(image: int) -> LoopDevice | None:
    wanted = os.fstat(image)
    for name in os.listdir("/sys/block"):
        if not name.startswith("loop"):
            continue
        path = "/dev/" + name
        try:
            fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        except OSError:
            continue  # no node for it here, or it is being released at this moment
        if _backs(fd, path, wanted):
            return LoopDevice(path, fd, is_new=False)
        os.close(fd)
    return None


def _backs(fd: int, path: str, wanted: os.stat_result) -> bool:
    try:
        _, info = syscalls.control(fd, syscalls.LOOP_GET_STATUS64, bytes(_INFO_SIZE), path)
    except OSError:
        return False  # backed by nothing
    device, inode, _, offset, size_limit = (_number(info, 8 * i, 8) for i in range(5))
    return (
        inode == wanted.st_ino
        and device == _encoded_device(wanted.st_dev)
        and offset == 0
        and size_limit == 0
        and bool(_number(info, 52, 4) & syscalls.LOOP_READ_ONLY)
    )


def _number(buffer: bytes, offset: int, size: int) -> int:
    return int.from_bytes(buffer[offset : offset + size], sys.byteorder)


def _encoded_device(device: int) -> int:
    """A device number as loop_info64 holds it: the kernel's huge_encode_dev()."""
    major, minor = os.major(device), os.minor(device)
    return (minor & 0xFF) | (major << 8) | ((minor & ~0xFF) << 12)


def _open_lock() -> int | None:
    """The lock that keeps one image from getting two devices when launches begin together.

    Nobody waits for it long: a launch that its user has stopped or frozen while it held the lock
    must not keep others from theirs, and a second device does no harm. So does none fail where
    /run is full or read-only.
    """
    try:
        os.makedirs(STATE_DIRECTORY, 0o700, exist_ok=True)
        return os.open(_LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    except OSError as error:
        if error.errno not in _NO_ROOM:
            raise
        return None


def _configure(file: int, flags: int) -> LoopDevice:
    try:
        control = os.open(_CONTROL, os.O_RDWR | os.O_CLOEXEC)
    except OSError as error:
        raise SetupError(
            f"cannot open {_CONTROL}: {error.strerror}: load the kernel's loop module on this node"
        ) from error
    try:
        # Other programs race for the free device that the kernel names.
        for _ in range(_ATTEMPTS):
            device = _configure_free(control, file, flags)
            if device is not None:
                return device
    finally:
        os.close(control)
    raise SetupError(
        f"no loop device could be had in {_ATTEMPTS} attempts: others took each of them"
    )


def _configure_free(control: int, file: int, flags: int) -> LoopDevice | None:
    try:
        number, _ = syscalls.control(control, syscalls.LOOP_CTL_GET_FREE, 0, _CONTROL)
    except OSError as error:
        raise SetupError(
            f"no free loop device ({_in_use()} in use): {error.strerror}: "
            "raise the kernel's loop.max_loop or end jobs that hold images"
        ) from error
    path = f"/dev/loop{number}"
    access = os.O_RDONLY if flags & syscalls.LOOP_READ_ONLY else os.O_RDWR
    try:
        fd = os.open(path, access | os.O_CLOEXEC)
    except OSError as error:
        if error.errno == errno.ENXIO:
            return None
        raise SetupError(f"cannot open loop device {path}: {error.strerror}") from error
    try:
        syscalls.control(fd, syscalls.LOOP_CONFIGURE, _configuration(file, flags), path)
    except OSError as error:
        os.close(fd)
        if error.errno in (errno.EBUSY, errno.EAGAIN, errno.ENXIO):
            return None
        raise SetupError(f"cannot attach a file to {path}: {error.strerror}") from error
    return LoopDevice(path, fd, is_new=True)


def _configuration(file: int, flags: int) -> bytes:
    # Direct I/O is of pieces that any disk below would take.
    block_size = _DIRECT_BLOCK if flags & syscalls.LOOP_DIRECT_IO else 0
    info = bytearray(_INFO_SIZE)
    info[52:56] = (flags | syscalls.LOOP_SET_AUTOCLEAR).to_bytes(4, sys.byteorder)
    numbers = b"".join([number.to_bytes(4, sys.byteorder) for number in (file, block_size)])
    return numbers + bytes(info) + bytes(_CONFIG_RESERVED)


def _in_use() -> int:
    return sum(os.path.exists(f"/sys/block/{name}/loop") for name in os.listdir("/sys/block"))
