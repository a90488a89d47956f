# SPDX-License-Identifier: BSD-3-Clause
"""The lines for LSF, run as sbatchd runs them: by a shell, in /tmp, with the job's variables."""

from __future__ import annotations

import pytest

from tests.integration.runtime.node import ALICE, BOB, IMAGE_ID

pytestmark = pytest.mark.root

JOB = {
    "LSB_JOBID": "42", "LSB_JOBINDEX": "3", "LSFUSER": "alice", "LSB_MCPU_HOSTS": "node1 2 node2 1",
    "PATH": "/bin:/usr/bin:/sbin:/usr/sbin",
}  # fmt: skip


@pytest.fixture
def lsf(scheduler):
    lines = scheduler.lines_of("lsf/lsb.queues")

    def run(name, **environment):
        return scheduler.batch.run("sh", "-c", lines[name], env=JOB | environment, cwd="/tmp")

    return run


def test_a_jobs_variables_name_its_image(lsf, batch):
    done = lsf("PRE_EXEC", SHIFTER=f"id:{IMAGE_ID}")

    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert batch.joined(env=JOB) == "42.3"
    assert batch.shifter("cat", "/var/hostsfile", env=JOB).stdout == "node1\nnode1\nnode2\n"

    assert lsf("POST_EXEC").stderr == ""
    assert batch.is_clean()


def test_a_job_that_wants_nothing_is_left_alone(lsf, batch):
    done = lsf("PRE_EXEC")

    assert (done.returncode, done.stderr) == (0, "")
    assert batch.kept() == []


def test_whoever_claims_to_be_somebody_else_gets_nothing_of_his(lsf, batch):
    """LSF proves nothing about users: so the container is the other's, and no sshd is started."""
    lsf("PRE_EXEC", SHIFTER=f"id:{IMAGE_ID}", LSFUSER="bob")

    assert batch.joined(env=JOB, user=ALICE) is None
    assert batch.joined(env=JOB, user=BOB) == "42.3"


@pytest.mark.parametrize("words", [["--sshd"], ["--ssh-key=ssh-ed25519 AAAA x"]])
def test_there_is_no_sshd_where_nobody_proves_whose_job_it_is(scheduler, batch, words):
    wanted = {"SHIFTER": f"id:{IMAGE_ID}", "SHIFTER_SSH_PUBKEY": "ssh-ed25519 AAAA x"}

    done = scheduler.prologue("--scheduler=lsf", *words, "--fail-status=5", env=JOB | wanted)

    assert done.returncode == 5
    assert "there is no sshd with lsf" in done.stderr
    assert batch.kept() == []
