# SPDX-License-Identifier: BSD-3-Clause
"""The loop that launches, run as the benchmark runs it: a program of its own."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks import spawn

HOLDING = ["/bin/sh", "-c", "echo; cat"]


def answer(**order):
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-c", Path(spawn.__file__).read_text()],
        input=json.dumps(order).encode(),
        stdout=subprocess.PIPE,
        timeout=60,
        check=True,
    )
    return json.loads(done.stdout)


def test_each_repetition_is_timed_and_warm_ups_are_not():
    command = ["/bin/sh", "-c", "echo noise"]

    made = answer(command=command, repetitions=4, warmups=2, unmounted="")

    assert len(made["seconds"]) == 4
    assert min(made["seconds"]) > 0
    assert made["late"] == 0


def test_a_launch_that_fails_is_no_measurement():
    made = answer(command=["/bin/sh", "-c", "exit 7"], repetitions=3, warmups=0, unmounted="")

    assert made == {"failed": 7}


def test_launches_run_at_the_same_time_until_released():
    made = answer(command=HOLDING, launches=5, image="/no/such/image")

    assert (made["failed"], made["devices"]) == (0, 0)


@pytest.mark.parametrize("command", [["/bin/false"], ["/bin/sh", "-c", "exit 3"]])
def test_a_launch_that_never_runs_does_not_keep_the_others_waiting(command):
    made = answer(command=command, launches=3, image="/no/such/image")

    assert made["failed"] == 3
