# SPDX-License-Identifier: BSD-3-Clause
"""A process of our own that is another user: it opens and reads what that user names.

By fork() and not by starting a program, because the user need not be able to read the gateway's
own files. The child only makes system calls, writes into what it was given, and exits.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import signal
import socket
import time
import traceback
from collections.abc import Callable, Iterator
from typing import Any, NoReturn

from shifter_common.errors import ShifterError
from shifter_imagegw.errors import PullError
from shifter_imagegw.importers.identity import Importer, become

log = logging.getLogger(__name__)

_LONGEST_MESSAGE = 32 << 10  # bytes
_LOOK_EVERY = 0.5  # seconds
_GRACE = 5.0  # seconds until a killed child is believed to hang in the kernel
_hanging: set[int] = set()  # children that did not end in that time


class Line:
    """One end of a connection between the two: messages, each with a descriptor or without."""

    def __init__(self, end: socket.socket) -> None:
        self._end = end
        self._end.settimeout(_LOOK_EVERY)

    def fileno(self) -> int:
        return self._end.fileno()

    def send(self, message: dict[str, Any], *descriptors: int) -> None:
        data = json.dumps(message).encode("utf-8", "surrogateescape")
        socket.send_fds(self._end, [data[:_LONGEST_MESSAGE]], descriptors)

    def receive(
        self, keep_waiting: Callable[[], None] = lambda: None
    ) -> tuple[dict[str, Any], list[int]] | None:
        """The next message, None when there will be none; `keep_waiting` may raise to stop."""
        while True:
            keep_waiting()
            try:
                data, descriptors, _, _ = socket.recv_fds(
                    self._end, _LONGEST_MESSAGE, 1, socket.MSG_CMSG_CLOEXEC
                )
            except (TimeoutError, ConnectionResetError):
                # The other end is gone, and had not read everything: once only it comes before
                # what that had said.
                continue
            message = json.loads(data) if data else {}
            if "defect" in message:
                raise RuntimeError(message["defect"])
            return (message, descriptors) if data else None


@contextlib.contextmanager
def running_as(
    who: Importer | None, work: Callable[[Line], None], *, keeping: tuple[int, ...] = ()
) -> Iterator[Line]:
    """Run `work` in a process that is `who` (None: as we are), and talk to it.

    It has no descriptors but its end of the line and those in `keeping`, and is gone when the body
    ends. What it raises arrives as a message with `error`.
    """
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    try:
        pid = os.fork()
    except OSError as error:
        ours.close()
        theirs.close()
        raise PullError(f"cannot start a process that opens files: {error.strerror}") from error
    if pid == 0:
        _be_child(who, work, theirs, keeping)
    theirs.close()
    try:
        yield Line(ours)
    finally:
        ours.close()
        _end(pid)


def _be_child(
    who: Importer | None,
    work: Callable[[Line], None],
    end: socket.socket,
    keeping: tuple[int, ...],
) -> NoReturn:
    """Never returns, whatever happens: above are the callers of the parent."""
    status = 1
    try:
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            signal.signal(number, signal.SIG_DFL)
        _close_all_but({end.fileno(), *keeping})
        line = Line(end)
        try:
            if who is not None:
                become(who)
            work(line)
            status = 0
        except ShifterError as error:
            line.send({"error": str(error)})
        except OSError as error:
            line.send({"error": f"cannot open it: {error.strerror}"})
        except Exception:
            line.send({"defect": traceback.format_exc()})
    finally:
        os._exit(status)


def _close_all_but(kept: set[int]) -> None:
    """Locks, sockets and pipes of the worker must not live on here, nor be within reach."""
    null = os.open(os.devnull, os.O_RDWR)
    for number in {0, 1, 2} - kept:
        os.dup2(null, number)
    start = 3
    for number in sorted(kept):
        if number > start:  # an empty range is everything to close_range(2)
            os.closerange(start, number)
        start = number + 1
    os.closerange(start, os.sysconf("SC_OPEN_MAX"))


def _end(pid: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)
    _hanging.difference_update([other for other in _hanging if _has_ended(other)])
    deadline = time.monotonic() + _GRACE
    while time.monotonic() < deadline:
        if _has_ended(pid):
            return
        time.sleep(0.001)
    _hanging.add(pid)
    log.warning("process hangs pid=%d reason=a filesystem does not answer", pid)


def _has_ended(pid: int) -> bool:
    try:
        return bool(os.waitpid(pid, os.WNOHANG)[0])
    except ChildProcessError:  # somebody who waits for all children was faster
        return True
