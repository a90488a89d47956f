# SPDX-License-Identifier: BSD-3-Clause
"""The lines for Grid Engine, run as sge_shepherd runs them, with the variables of the job."""

from __future__ import annotations

import pytest

from tests.integration.runtime.node import ALICE, BOB, IMAGE_ID

pytestmark = pytest.mark.root


@pytest.fixture
def gridengine(scheduler, node, tmp_path):
    """Runs prolog and epilog: no shell, the words expanded by the shepherd, the job's variables."""
    lines = scheduler.lines_of("gridengine/queue.conf")
    machines = node.shared / str(ALICE) / "pe_hostfile"
    machines.write_text("node1 2 all.q@node1 UNDEFINED\nnode2 1 all.q@node2 UNDEFINED\n")

    def run(name, *, task="0", environment=None):
        user, _, command = lines[name].partition("@")
        assert user == "root"
        known = {"$job_id": "42", "$ja_task_id": task, "$job_owner": "alice"}
        for variable, text in known.items():
            command = command.replace(variable, text)
        told = {"JOB_ID": "42", "USER": "alice", "PE_HOSTFILE": str(machines)}
        return scheduler.batch.run(
            *command.split(), env=told | (environment or {}), cwd=str(tmp_path)
        )

    return run


def test_a_jobs_variables_name_its_image(gridengine, batch):
    done = gridengine("prolog", environment={"SHIFTER": f"id:{IMAGE_ID}"})

    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    job = {"JOB_ID": "42", "SGE_TASK_ID": "undefined"}
    assert batch.joined(env=job) == "42"
    assert batch.shifter("cat", "/var/hostsfile", env=job).stdout == "node1\nnode1\nnode2\n"

    assert gridengine("epilog").stderr == ""
    assert batch.is_clean()


def test_tasks_of_an_array_have_a_container_each(gridengine, batch):
    for task in ("1", "2"):
        gridengine("prolog", task=task, environment={"SHIFTER": f"id:{IMAGE_ID}"})

    gridengine("epilog", task="1")

    assert batch.kept() == ["42.2"]
    assert batch.joined(env={"JOB_ID": "42", "SGE_TASK_ID": "2"}) == "42.2"


def test_the_environment_does_not_say_whose_job_it_is(gridengine, batch):
    forged = {"SHIFTER": f"id:{IMAGE_ID}", "USER": "bob", "JOB_OWNER": "bob", "LSFUSER": "bob"}
    forged |= {"JOB_ID": "13", "LSB_JOBID": "13", "SGE_TASK_ID": "9"}

    gridengine("prolog", environment=forged)

    assert batch.kept() == ["42"]
    assert batch.joined(env={"SHIFTER_JOB_ID": "42"}, user=ALICE) == "42"
    assert batch.joined(env={"SHIFTER_JOB_ID": "42"}, user=BOB) is None


def test_no_file_of_others_is_read_for_a_user(gridengine, batch, node):
    secret = node.shared / "secret"
    secret.write_text("word\n")
    secret.chmod(0o600)

    done = gridengine(
        "prolog", environment={"SHIFTER": f"id:{IMAGE_ID}", "PE_HOSTFILE": str(secret)}
    )

    assert done.returncode == 0  # anything else would stop the queue
    assert "Permission denied" in done.stderr
    assert "word" not in done.stderr
    assert batch.kept() == []


def test_an_environment_that_starts_python_otherwise_changes_nothing(gridengine, batch, tmp_path):
    (tmp_path / "os.py").write_text("raise SystemExit('imported')\n")
    hostile = {"PYTHONPATH": str(tmp_path), "PYTHONSTARTUP": str(tmp_path / "os.py")}
    hostile |= {"PYTHONHOME": str(tmp_path), "PATH": str(tmp_path), "BASH_ENV": "/nowhere"}

    done = gridengine("prolog", environment={"SHIFTER": f"id:{IMAGE_ID}"} | hostile)

    assert (done.returncode, done.stderr) == (0, "")
    assert batch.kept() == ["42"]
