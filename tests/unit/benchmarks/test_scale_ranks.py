# SPDX-License-Identifier: BSD-3-Clause
"""The ranks of a node, held while somebody looks, run as the benchmark runs them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks import scale_ranks


@pytest.fixture
def starter():
    with subprocess.Popen(
        [sys.executable, "-I", "-S", "-c", Path(scale_ranks.__file__).read_text()],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        yield process
        process.kill()


def order(process, command, ranks=5, **variables):
    given = {"command": ["/bin/sh", "-c", command], "ranks": ranks, "environment": variables}
    process.stdin.write(json.dumps(given) + "\n")
    process.stdin.flush()
    return json.loads(process.stdout.readline())


def release(process):
    process.stdin.close()
    return json.loads(process.stdout.readline())


def test_all_ranks_are_there_until_they_are_released(starter):
    running = order(starter, "echo; exec cat")

    assert running["running"] == 5
    assert all(os.path.exists(f"/proc/{pid}") for pid in running["pids"])

    over = release(starter)

    assert over["failed"] == 0
    assert over["cpu_seconds"] >= 0
    assert not any(os.path.exists(f"/proc/{pid}") for pid in running["pids"])


def test_a_rank_has_the_variables_of_the_job(starter):
    order(starter, 'test "$SHIFTER_JOB_ID" = 12 || exit 3; echo; exec cat', SHIFTER_JOB_ID="12")

    assert release(starter)["failed"] == 0


def test_ranks_that_do_not_come_up_are_not_waited_for(starter):
    assert order(starter, "exit 7")["running"] == 0
    assert release(starter)["failed"] == 5
