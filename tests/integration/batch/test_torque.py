# SPDX-License-Identifier: BSD-3-Clause
"""The examples for Torque, called as pbs_mom calls them; its qstat is a fake that shows a text."""

from __future__ import annotations

import pytest

from tests.integration.runtime.node import ALICE, IMAGE_ID

pytestmark = pytest.mark.root

JOB = "42[7].server.example"
# As Torque writes it with -f -1; with -f alone, long lines are folded.
ATTRIBUTES = """\
Job Id: {job}
    Job_Name = job.sh
    Job_Owner = alice@login.example
    job_state = R
    exec_host = node1/0-1+node2/0
    Resource_List.nodes = 2
    Variable_List = PBS_O_QUEUE=batch,PBS_O_HOME=/home/alice,{variables},
\tPBS_O_WORKDIR=/home/alice
    etime = Fri Nov 20 10:00:00 2026

"""


@pytest.fixture
def torque(scheduler, tmp_path):
    """Runs the two programs as the node's pbs_mom: empty environment, its own directory, argv."""

    class Torque:
        def __init__(self):
            self.attributes = tmp_path / "attributes"
            self.asked = tmp_path / "asked"
            qstat = tmp_path / "qstat"
            qstat.write_text(f'#!/bin/sh\necho "$@" >{self.asked}\ncat {self.attributes}\n')
            qstat.chmod(0o755)
            self.tell(f"SHIFTER=id:{IMAGE_ID}")
            self._prologue = scheduler.adapt("torque/prologue", "/usr/bin/qstat", qstat, tmp_path)
            self._epilogue = scheduler.adapt("torque/epilogue", "exec", "exec", tmp_path)

        def tell(self, variables):
            self.attributes.write_text(ATTRIBUTES.format(job=JOB, variables=variables))

        def prologue(self):
            words = (JOB, "alice", "alice", "job.sh", "neednodes=2,nodes=2", "batch", "")
            return self._run(self._prologue, words)

        def epilogue(self):
            words = ("job.sh", "123", "nodes=2", "cput=0", "batch", "", "0")
            return self._run(self._epilogue, (JOB, "alice", "alice", *words))

        def _run(self, program, words):
            return scheduler.batch.run(program, *words, env={}, cwd=str(tmp_path))

    return Torque()


def test_a_jobs_variables_name_its_image(torque, batch):
    done = torque.prologue()

    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert torque.asked.read_text() == f"-f -1 {JOB}\n"
    assert batch.joined(env={"PBS_JOBID": JOB}) == JOB
    seen = batch.shifter("cat", "/var/hostsfile", env={"PBS_JOBID": JOB})
    assert seen.stdout == "node1\nnode1\nnode2\n"

    assert torque.epilogue().stderr == ""
    assert batch.is_clean()


def test_commas_in_a_variable_are_the_variables(torque, batch, node):
    node.configure(module_a_siteEnv="A=1", module_b_siteEnv="B=2")
    torque.tell(f"SHIFTER=id:{IMAGE_ID},SHIFTER_MODULE=a,b,OTHER=x\\,SHIFTER_VOLUME=/tmp:/bad")

    assert torque.prologue().stderr == ""
    assert batch.joined("--module=a,b", env={"PBS_JOBID": JOB}) == JOB


def test_line_breaks_in_a_variable_make_nobody_else_of_a_user(torque, batch):
    torque.tell(f"X=y\n    euser = bob\n    Variable_List = SHIFTER=id:{IMAGE_ID}")

    torque.prologue()

    assert batch.kept() == []
    torque.tell(f"SHIFTER=id:{IMAGE_ID},X=y\n    Job_Owner = bob@login\n    euser = bob")

    torque.prologue()

    assert batch.joined(env={"PBS_JOBID": JOB}, user=ALICE) == JOB


@pytest.mark.parametrize("text", ["$(touch {mark})", "`touch {mark}`", "' \"; touch {mark} #"])
def test_nothing_of_a_users_reaches_a_shell(torque, batch, tmp_path, text):
    mark = tmp_path / "mark"
    torque.tell(f"SHIFTER=docker:{text.format(mark=mark)}")

    done = torque.prologue()

    assert done.returncode == 0
    assert "is no image name" in done.stderr
    assert not mark.exists()


def test_a_server_that_does_not_answer_fails_no_job(torque, batch):
    torque.attributes.unlink()

    done = torque.prologue()

    assert done.returncode == 0
    assert "so nobody knows what job 42[7].server.example asks for" in done.stderr
