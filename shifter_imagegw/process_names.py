# SPDX-License-Identifier: BSD-3-Clause
"""Names of workers, that no two processes ever have, and that tell whether one is dead."""

from __future__ import annotations

import functools
import hashlib
import os
import socket
from pathlib import Path

# Fields of /proc/<pid>/stat (proc(5): 3 and 22), counted after the program's name.
_STATE, _START_TIME = 0, 19
_ENDED = ("Z", "X")

_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")
_PROCESS_IDS = Path("/proc/self/ns/pid")


def machine() -> str:
    """Where process ids mean what they mean here.

    Containers may have one host name, and each has process ids of its own, so the name is not
    enough; nor is it after a restart of the machine.
    """
    return f"{socket.gethostname()}.{_place()}"


@functools.cache
def _place() -> str:
    known = [os.readlink(_PROCESS_IDS), _BOOT_ID.read_text()]
    return hashlib.sha256("".join(known).encode()).hexdigest()[:8]


def worker_name(pid: int) -> str | None:
    """`machine:pid:start time`; None for a process that has ended."""
    fields = _fields_of(pid)
    if fields is None or fields[_STATE] in _ENDED:
        return None
    return f"{machine()}:{pid}:{fields[_START_TIME]}"


def is_dead(worker: str) -> bool:
    """Whether a worker is known to be dead; of one on another machine nothing is known."""
    place, _, process = worker.partition(":")
    pid, _, _ = process.partition(":")
    if place != machine() or not pid.isdecimal():
        return False
    return worker_name(int(pid)) != worker and not _is_hidden(int(pid))


def _is_hidden(pid: int) -> bool:
    """Whether there is a process that /proc shows to its own account only (hidepid)."""
    if _fields_of(pid) is not None:
        return False
    try:
        os.kill(pid, 0)
    except PermissionError:
        return True
    except (ProcessLookupError, OverflowError):
        return False
    return _fields_of(pid) is None  # else it has just begun


def _fields_of(pid: int) -> list[str] | None:
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(errors="replace")
    except (FileNotFoundError, PermissionError, ProcessLookupError):
        return None
    # The program's name, in parentheses, may itself hold spaces and parentheses.
    return stat.rpartition(")")[2].split()
