# SPDX-License-Identifier: BSD-3-Clause
"""Keeps the processes of the embedded gateway running, and lets none of them outlive it."""

from __future__ import annotations

import contextlib
import ctypes
import dataclasses
import logging
import os
import signal
import sys
import time
from collections.abc import Callable, Sequence
from typing import NoReturn

log = logging.getLogger(__name__)

_PR_SET_PDEATHSIG = 1
_PR_SET_NAME = 15
_STOPPING = {signal.SIGTERM, signal.SIGINT}
_WATCHED = _STOPPING | {signal.SIGCHLD}
_LONG = 3600.0  # seconds


@dataclasses.dataclass(frozen=True, kw_only=True)
class Role:
    """What one child process does; `main` is called in it, and its return ends the process."""

    name: str
    main: Callable[[], None]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Timing:
    """Seconds."""

    first_delay: float = 0.1  # before a child that died is started again
    longest_delay: float = 10.0  # each death in a row doubles it, up to this
    healthy_after: float = 10.0  # a child that lived that long did not die in a row
    stop_grace: float = 10.0  # from SIGTERM to SIGKILL


class Supervisor:
    """Runs one child per role until SIGTERM or SIGINT.

    Each child leads a process group of its own. Whatever is left of the group when its leader
    dies (a converter, an API process) is killed with it; when the supervisor itself is killed, the
    kernel kills the children. It talks to nobody else, so that nothing can keep it waiting: what a
    dead worker leaves behind is swept up by the others.
    """

    def __init__(self, roles: Sequence[Role], timing: Timing | None = None) -> None:
        self._children = [_Child(role) for role in roles]
        self._timing = timing or Timing()

    def run(self) -> None:
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)  # an inherited "ignore" would hide deaths
        before = signal.pthread_sigmask(signal.SIG_BLOCK, _WATCHED)
        try:
            self._watch()
        finally:
            self._stop()
            signal.pthread_sigmask(signal.SIG_SETMASK, before)

    def _watch(self) -> None:
        while True:
            self._start_those_due()
            received = signal.sigtimedwait(_WATCHED, self._idle_time())
            if received is not None and received.si_signo in _STOPPING:
                log.info("gateway stopping signal=%s", signal.Signals(received.si_signo).name)
                return
            self._reap()

    def _start_those_due(self) -> None:
        now = time.monotonic()
        for child in self._children:
            if child.pid is None and child.due <= now:
                child.start()

    def _idle_time(self) -> float:
        """Until a child is to be started again; a death is heard of at once."""
        starts = [child.due for child in self._children if child.pid is None]
        return max(0.0, min(starts) - time.monotonic()) if starts else _LONG

    def _reap(self) -> None:
        """Take note of every child that has died."""
        for child in self._children:
            if child.has_died():
                status = child.bury()
                delay = child.delay_restart(self._timing)
                log.warning(
                    "process died role=%s status=%s restart_in=%.1f", child.role.name, status, delay
                )

    def _stop(self) -> None:
        for child in self._children:
            child.signal(signal.SIGTERM)
        deadline = time.monotonic() + self._timing.stop_grace
        while self._living() and (left := deadline - time.monotonic()) > 0:
            received = signal.sigtimedwait(_WATCHED, left)
            for child in self._living():
                if child.has_died():
                    child.bury()
            if received is not None and received.si_signo in _STOPPING:
                break  # whoever asks twice does not want to wait
        for child in self._living():
            child.signal(signal.SIGKILL)
            child.bury()

    def _living(self) -> list[_Child]:
        return [child for child in self._children if child.pid is not None]


class _Child:
    """The process of one role: `pid` is None while there is none, and `due` says until when."""

    def __init__(self, role: Role) -> None:
        self.role = role
        self.pid: int | None = None
        self.due = 0.0
        self._started = 0.0
        self._deaths_in_a_row = 0

    def start(self) -> None:
        sys.stdout.flush()
        sys.stderr.flush()
        supervisor = os.getpid()
        pid = os.fork()
        if pid == 0:
            _become_child(self.role, supervisor)
        self.pid, self._started = pid, time.monotonic()
        log.info("process started role=%s pid=%d", self.role.name, pid)

    def has_died(self) -> bool:
        # Without reaping it, so that its number cannot belong to anybody else yet.
        return (
            self.pid is not None
            and os.waitid(os.P_PID, self.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None
        )

    def bury(self) -> int:
        """Reap it and kill what is left of its group; its exit status, negative for a signal."""
        assert self.pid is not None
        os.waitid(os.P_PID, self.pid, os.WEXITED | os.WNOWAIT)
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self.pid, signal.SIGKILL)
        _, status = os.waitpid(self.pid, 0)
        self.pid = None
        return os.waitstatus_to_exitcode(status)

    def signal(self, number: signal.Signals) -> None:
        if self.pid is not None:
            os.kill(self.pid, number)

    def delay_restart(self, timing: Timing) -> float:
        now = time.monotonic()
        healthy = now - self._started >= timing.healthy_after
        self._deaths_in_a_row = 1 if healthy else self._deaths_in_a_row + 1
        delay: float = timing.first_delay * 2 ** (self._deaths_in_a_row - 1)
        delay = min(delay, timing.longest_delay)
        self.due = now + delay
        return delay


def die_with_parent(parent: int) -> None:
    """Have the kernel kill this process when `parent`, which started it, ends."""
    _prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(1)


def _become_child(role: Role, supervisor: int) -> NoReturn:
    status = 1
    try:
        die_with_parent(supervisor)
        _prctl(_PR_SET_NAME, f"gw-{role.name}".encode())  # what ps and top show
        os.setpgid(0, 0)  # Ctrl-C in a terminal is for the supervisor alone
        signal.pthread_sigmask(signal.SIG_UNBLOCK, _WATCHED)
        role.main()
        status = 0
    except SystemExit as exit_:
        status = exit_.code if isinstance(exit_.code, int) else 1
    except BaseException:
        log.exception("process failed role=%s", role.name)
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)


def _prctl(option: int, value: int | bytes) -> None:
    ctypes.CDLL(None).prctl(option, value, 0, 0, 0)
