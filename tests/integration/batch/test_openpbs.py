# SPDX-License-Identifier: BSD-3-Clause
"""The hook for OpenPBS, run with a fake of the module that PBS gives it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.integration.runtime.node import IMAGE_ID

pytestmark = pytest.mark.root

FAKE = Path(__file__).parent / "fake_pbs"
JOB = "42[7].server"


@pytest.fixture
def pbs(scheduler, tmp_path):
    """Has the node's PBS run the hook for an event of the job."""
    event = tmp_path / "event"

    def run(kind, *, reject=False, **variables):
        job = {
            "id": JOB,
            "euser": "alice",
            "exec_host": "node1/0*2+node2/0",
            "Variable_List": variables,
        }
        event.write_text(json.dumps({"type": f"execjob_{kind}", "job": job}))
        hook = scheduler.adapt(
            "openpbs/shifter_hook.py", "REJECT = False", f"REJECT = {reject}", tmp_path
        )
        env = {"FAKE_PBS_EVENT": str(event), "PYTHONPATH": str(FAKE)}
        return scheduler.batch.run("python3", "-B", hook, env=env)

    return run


def test_a_jobs_variables_name_its_image(pbs, batch):
    done = pbs(
        "begin", SHIFTER=f"id:{IMAGE_ID}", PBS_O_QUEUE="workq", SHIFTER_VOLUME="/shared:/data"
    )

    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    job = {"PBS_JOBID": JOB}
    assert batch.joined("--volume=/shared:/data", env=job) == JOB
    seen = batch.shifter("--volume=/shared:/data", "cat", "/var/hostsfile", env=job)
    assert seen.stdout == "node1\nnode1\nnode2\n"

    done = pbs("end")

    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert batch.is_clean()


def test_a_job_that_wants_nothing_is_left_alone(pbs, batch):
    assert pbs("begin", PBS_O_QUEUE="workq").stdout == ""
    assert batch.kept() == []


@pytest.mark.parametrize("reject", [False, True])
def test_what_is_wrong_is_logged_and_rejects_a_job_where_the_site_wants_it(pbs, batch, reject):
    text = "docker:$(touch /tmp/x)\nb"

    done = pbs("begin", reject=reject, SHIFTER=text)

    assert done.returncode == 0
    assert f"{JOB}: shifter-prologue: {text!r} is no image name" in done.stdout
    assert ("rejected: shifter-prologue:" in done.stdout) == reject
    assert batch.is_clean()


@pytest.mark.parametrize("reject", [False, True])
def test_what_is_too_long_for_any_program_ends_no_hook(pbs, batch, reject):
    done = pbs("begin", reject=reject, SHIFTER=f"id:{IMAGE_ID}", SHIFTER_VOLUME="/" * 200_000)

    assert (done.returncode, done.stderr) == (0, "")
    assert f"{JOB}: cannot run " in done.stdout
    assert ("rejected: cannot run " in done.stdout) == reject
    assert batch.is_clean()
