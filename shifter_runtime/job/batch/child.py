# SPDX-License-Identifier: BSD-3-Clause
"""Act in a process of its own, which is ended with all that it started if it takes too long."""

from __future__ import annotations

import os

from shifter_runtime import process_calls, syscalls

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

_PATIENCE = 5000  # milliseconds
_MOST_OUTPUT = 1 << 22  # bytes
_FIRST_DESCRIPTOR, _LAST_DESCRIPTOR = 3, 1 << 30
_ENVIRONMENT = {"PATH": "/usr/bin:/bin", "LC_ALL": "C"}
_NOT_RUN = 126


def run(act: Callable[[], object], seconds: int) -> int | None:
    """How `act` ended, as exit status; None if it was ended because time was up."""
    child = os.fork()
    if child == 0:
        try:
            os.setsid()
            act()
        finally:
            os._exit(_NOT_RUN)
    ending = os.pidfd_open(child)
    try:
        (ended,) = process_calls.wait_readable((ending,), seconds * 1000)
        if ended:
            return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        os.killpg(child, syscalls.SIGKILL)  # not waited for yet, so the number is still its own
        # What hangs in a dead filesystem cannot be ended, and must not keep the job from starting.
        (ended,) = process_calls.wait_readable((ending,), _PATIENCE)
        if ended:
            os.waitpid(child, 0)
        return None
    finally:
        os.close(ending)


def output_of(command: list[str], seconds: int) -> tuple[int | None, str]:
    """How a program ended, and what it wrote; what it complained of is on our standard error."""
    output = os.memfd_create("output")  # a pipe might fill up

    def execute() -> None:
        try:
            os.dup2(output, 1)
            os.execve(command[0], command, _ENVIRONMENT)
        except OSError as error:
            os.write(2, os.fsencode(f"cannot run {command[0]}: {error.strerror}\n"))

    status = run(execute, seconds)
    text = os.pread(output, _MOST_OUTPUT, 0).decode("utf-8", "surrogateescape")
    os.close(output)
    return status, text


def keep_standard_descriptors() -> None:
    """Read nothing from the batch system, and hand nothing else of its on."""
    try:
        os.dup2(os.open("/dev/null", os.O_RDONLY), 0)
    except OSError:
        os.close(0)
    os.closerange(_FIRST_DESCRIPTOR, _LAST_DESCRIPTOR)
