# SPDX-License-Identifier: BSD-3-Clause
"""Starts the ranks of one node, all at once, and holds them until told to let go.

Runs by itself (`python -I -S`), so that it can be the user whose job it is; it imports nothing of
the project. The first line of its input is an order, and it answers when every rank runs; with the
end of its input it ends the ranks, and answers what they have cost.
"""

from __future__ import annotations

import json
import os
import select
import sys
import time
from typing import Any

PAUSE = 0.2  # seconds between two looks whether a rank has died


def start(order: dict[str, Any]) -> tuple[dict[str, Any], int]:
    """Start programs that write a byte and wait; seconds until the last has written.

    Also gives the descriptor that they wait for.
    """
    answers, answer = os.pipe()
    held, release = os.pipe()
    os.set_inheritable(answer, True)
    os.set_inheritable(held, True)
    actions = [
        (os.POSIX_SPAWN_DUP2, held, 0),
        (os.POSIX_SPAWN_DUP2, answer, 1),
        (os.POSIX_SPAWN_CLOSE, held),
        (os.POSIX_SPAWN_CLOSE, answer),
    ]
    command, environment = order["command"], os.environ | order["environment"]
    started = time.perf_counter()
    pids = [
        os.posix_spawn(command[0], command, environment, file_actions=actions)
        for _ in range(order["ranks"])
    ]
    os.close(answer)
    os.close(held)
    written = 0
    while written < len(pids) and not _any_ended():
        if select.select([answers], [], [], PAUSE)[0]:
            written += len(os.read(answers, 4096))
    seconds = time.perf_counter() - started
    return {"seconds": seconds, "pids": pids, "running": written}, release


def end(pids: list[int], release: int) -> dict[str, Any]:
    """Let the ranks end; how many failed, and what all of them worked."""
    os.close(release)
    failed = sum(os.waitpid(pid, 0)[1] != 0 for pid in pids)
    times = os.times()
    return {"failed": failed, "cpu_seconds": times.children_user + times.children_system}


def _any_ended() -> bool:
    """Whether a rank is over: before it is released, that is a failure."""
    return os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None


def main() -> None:
    running, release = start(json.loads(sys.stdin.readline()))
    print(json.dumps(running), flush=True)
    sys.stdin.read()
    print(json.dumps(end(running["pids"], release)), flush=True)


if __name__ == "__main__":
    main()
