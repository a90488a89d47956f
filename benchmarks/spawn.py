# SPDX-License-Identifier: BSD-3-Clause
"""Starts a program again and again, or many times at once, and says how long each took.

Runs by itself (`python -I -S`, an order as JSON on stdin, an answer as JSON on stdout), so that it
can be the user who launches; it imports nothing of the project, whose files that user need not see.
"""

from __future__ import annotations

import glob
import json
import os
import select
import sys
import time
from typing import Any

PATIENCE = 2.0  # seconds for the kernel to take down what the last launch mounted


QUIET = [
    (os.POSIX_SPAWN_OPEN, 0, "/dev/null", os.O_RDONLY, 0),
    (os.POSIX_SPAWN_OPEN, 1, "/dev/null", os.O_WRONLY, 0),
]


def repeat(order: dict[str, Any]) -> dict[str, Any]:
    """Launch one after the other; seconds from posix_spawn to the end of wait, each."""
    seconds = []
    late = 0
    for count in range(order["warmups"] + order["repetitions"]):
        # A launch is cold only where no loop device holds the image any more.
        late += bool(order["unmounted"]) and not _detached(order["unmounted"])
        started = time.perf_counter_ns()
        pid = _spawn(order["command"], QUIET)
        _, status = os.waitpid(pid, 0)
        ended = time.perf_counter_ns()
        if status:
            return {"failed": os.waitstatus_to_exitcode(status)}
        if count >= order["warmups"]:
            seconds.append((ended - started) / 1e9)
    return {"seconds": seconds, "late": late}


def together(order: dict[str, Any]) -> dict[str, Any]:
    """Launch all at once programs that write a byte and wait for the end of their input.

    Seconds until the last has written, and the loop devices that hold the image then.
    """
    answers, answer = os.pipe()
    held, release = os.pipe()
    for fd in (answers, release):
        os.set_inheritable(fd, False)
    actions = [
        (os.POSIX_SPAWN_DUP2, held, 0),
        (os.POSIX_SPAWN_DUP2, answer, 1),
        (os.POSIX_SPAWN_CLOSE, held),
        (os.POSIX_SPAWN_CLOSE, answer),
    ]
    started = time.perf_counter_ns()
    pids = [_spawn(order["command"], actions) for _ in range(order["launches"])]
    os.close(answer)
    os.close(held)
    written = 0
    while written < len(pids) and not _any_ended():
        if select.select([answers], [], [], 0.1)[0]:
            written += len(os.read(answers, 4096))
    ended = time.perf_counter_ns()
    devices = loop_devices(order["image"])
    os.close(release)
    failed = sum(os.waitpid(pid, 0)[1] != 0 for pid in pids)
    return {"seconds": (ended - started) / 1e9, "devices": len(devices), "failed": failed}


def loop_devices(image: str) -> list[str]:
    """The loop devices behind which `image` is."""
    found = []
    for path in glob.glob("/sys/block/loop*/loop/backing_file"):
        try:
            with open(path) as file:
                backing = file.read().rstrip("\n")
        except OSError:  # detached since it was listed
            continue
        if backing == image:
            found.append(path.split("/")[3])
    return found


def _spawn(command: list[str], actions: list[tuple[Any, ...]]) -> int:
    return os.posix_spawn(command[0], command, os.environ, file_actions=actions)


def _any_ended() -> bool:
    """Whether a launch is over: before it is released, that is a failure."""
    ended = os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
    return ended is not None


def _detached(image: str) -> bool:
    deadline = time.monotonic() + PATIENCE
    while loop_devices(image):
        if time.monotonic() > deadline:
            return False
        time.sleep(0.001)
    return True


def main() -> None:
    order = json.load(sys.stdin)
    answer = repeat(order) if "repetitions" in order else together(order)
    json.dump(answer, sys.stdout)


if __name__ == "__main__":
    main()
