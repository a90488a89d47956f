# SPDX-License-Identifier: BSD-3-Clause
"""What the epilog of a job could not take down is tried again when other jobs end on the node."""

from __future__ import annotations

import fcntl
import os
import time
from pathlib import Path

import pytest

from tests.spank.jobs import ENVIRONMENT, JOB, epilog, prolog
from tests.spank.mock import Script

pytestmark = pytest.mark.root


def epilog_of_another_job():
    script = Script("job_script").add("item", "JOB_ID", "78").add("item", "JOB_UID", "65534")
    return script.add("hook", "init").add("hook", "job_epilog")


def leave(site):
    """Have an epilog fail, as where udiRoot.conf is being changed."""
    site.unsetup_root("exit 1")
    site.run(epilog(), environment=ENVIRONMENT).require_sound()
    site.unsetup_root(site.log_call())
    assert [path.name for path in site.jobs.iterdir()] == [f"{JOB}.left"]


def test_what_an_epilog_has_left_the_next_one_takes_down(node):
    leave(node)

    seen = node.run(epilog_of_another_job(), environment={}).require_sound()

    assert seen.returned("job_epilog") == 0
    assert [call[1:] for call in node.calls()] == [[f"--job={JOB}"]]
    assert list(node.jobs.iterdir()) == []


def test_what_cannot_be_taken_down_is_tried_by_each_epilog(node):
    leave(node)
    node.unsetup_root(f"{node.log_call()}; exit 1")

    for _ in range(2):
        node.run(epilog_of_another_job(), environment={}).require_sound()

    assert [call[1:] for call in node.calls()] == 2 * [[f"--job={JOB}"]]


def test_a_job_that_has_begun_again_is_not_taken_down_by_the_epilog_of_another(node):
    leave(node)
    node.run(prolog(), environment=ENVIRONMENT).require_sound()

    node.run(epilog_of_another_job(), environment={}).require_sound()

    assert not [call for call in node.calls() if "unsetupRoot" in call[0]]


def test_no_epilog_touches_a_job_whose_prolog_is_at_work(node):
    leave(node)
    with (node.jobs / f"{JOB}.prolog").open("w") as at_work:
        fcntl.flock(at_work, fcntl.LOCK_EX)

        node.run(epilog_of_another_job(), environment={}).require_sound()

    assert node.calls() == []


def is_waited_for(file):
    number = f":{os.fstat(file.fileno()).st_ino} "
    lines = Path("/proc/locks").read_text().splitlines()
    return any("-> FLOCK" in line and number in line for line in lines)


def test_an_epilog_waits_for_a_prolog_that_outlives_slurmd(node):
    node.jobs.mkdir(parents=True, exist_ok=True)
    with (node.jobs / f"{JOB}.prolog").open("w") as at_work:
        fcntl.flock(at_work, fcntl.LOCK_EX)
        process = node.start(epilog(), environment=ENVIRONMENT)
        deadline = time.monotonic() + 30
        while not is_waited_for(at_work):
            assert process.poll() is None
            assert time.monotonic() < deadline
        assert node.calls() == []
    assert process.wait(30) == 0

    assert [call[1:] for call in node.calls()] == [[f"--job={JOB}"]]
    assert list(node.jobs.iterdir()) == []
