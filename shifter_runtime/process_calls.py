# SPDX-License-Identifier: BSD-3-Clause
"""Kernel calls about processes, signals and limits that few launches make, as in `syscalls`."""

from __future__ import annotations

import sys

from shifter_runtime.syscalls import (
    SIGNAL_SET,
    Buffer,
    Int,
    Long,
    Text,
    call,
    checked,
    function,
    u64,
)

_F_OFD_SETLK = 37
_F_WRLCK = 1
_LAST_SIGNAL = 64
_SIG_SETMASK = 2
_POLLIN = 1
_POLLFD = 8  # bytes of struct pollfd
_RLIM_INFINITY = 2**64 - 1
# Soft and hard limits by number: processor time, file size, data, stack, core, open files, address
# space. Where there is one, it is what the kernel gives to the first process.
_LIMITS = {
    **{0: (_RLIM_INFINITY, _RLIM_INFINITY), 1: (_RLIM_INFINITY, _RLIM_INFINITY)},
    **{2: (_RLIM_INFINITY, _RLIM_INFINITY), 3: (8 << 20, _RLIM_INFINITY), 4: (0, _RLIM_INFINITY)},
    **{7: (1024, 4096), 9: (_RLIM_INFINITY, _RLIM_INFINITY)},
}
_PIDFD_SEND_SIGNAL = 424
_PR_GET_PDEATHSIG = 2

_pidfd_send_signal = call(Long, Long, Long, Long)
_fcntl_text = function("fcntl", Long, Long, Text)
_poll = function("poll", Buffer, Long, Int)
_prctl_buffer = function("prctl", Long, Buffer)
_prlimit = function("prlimit64", Long, Long, Text, Text)
_signal = function("signal", Int, Long)
_sigprocmask = function("sigprocmask", Long, Text, Text)


def try_to_lock_byte(fd: int, position: int, name: str) -> bool:
    """Take an exclusive lock on one byte if nobody holds it, until `fd` is closed: fcntl(2).

    It belongs to the open file, not to the process (F_OFD_SETLK).
    """
    # struct flock: type, whence (SEEK_SET), start, length, pid
    flock = _F_WRLCK.to_bytes(2, sys.byteorder) + bytes(6) + u64(position, 1, 0)
    try:
        checked(_fcntl_text(fd, _F_OFD_SETLK, flock), name)
    except BlockingIOError:
        return False
    return True


def wait_readable(fds: tuple[int, ...], milliseconds: int) -> list[bool]:
    """Wait until one of `fds` can be read or was closed, or time is up (-1: never): poll(2)."""
    buffer = Buffer()
    request = b"".join(
        [
            fd.to_bytes(4, sys.byteorder) + _POLLIN.to_bytes(2, sys.byteorder) + bytes(2)
            for fd in fds
        ]
    )
    buffer.raw = request
    checked(_poll(buffer, len(fds), milliseconds), "poll")
    # The last half of each structure is what happened.
    return [any(buffer.raw[end - 2 : end]) for end in range(_POLLFD, len(request) + 1, _POLLFD)]


def signal_process(process: int, number: int) -> None:
    """Send a signal to the process that the descriptor `process` is of: pidfd_send_signal(2)."""
    checked(_pidfd_send_signal(_PIDFD_SEND_SIGNAL, process, number, 0, 0), "process")


def forget_signals() -> None:
    """Let each signal do what it does by default, and block none: signal(2), sigprocmask(2)."""
    for number in range(1, _LAST_SIGNAL + 1):
        _signal(number, 0)
    _sigprocmask(_SIG_SETMASK, bytes(SIGNAL_SET), None)


def lift_limits() -> None:
    """Take away the limits that the caller set on this process and that programs fail of.

    prlimit(2); root without CAP_SYS_RESOURCE cannot lift them all.
    """
    for resource, (soft, hard) in _LIMITS.items():
        checked(_prlimit(0, resource, u64(soft, hard), None), "limits of the caller")


def death_signal() -> int:
    """Which signal this process is sent when its parent ends, 0 for none: prctl(2)."""
    buffer = Buffer()
    checked(_prctl_buffer(_PR_GET_PDEATHSIG, buffer), "process attributes")
    return int.from_bytes(buffer.raw[:4], sys.byteorder)
