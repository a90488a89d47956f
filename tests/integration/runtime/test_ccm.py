# SPDX-License-Identifier: BSD-3-Clause
"""The node's own root as the image of a job (`local /`), as Slurm's `--ccm` wants it."""

from __future__ import annotations

import pytest

from tests.integration.runtime.batch import STATE, finish
from tests.integration.runtime.node import ALICE, BOB, host_state

pytestmark = pytest.mark.root


@pytest.fixture
def job(batch):
    """Job 12 of alice's, which is in a container of the node's own root."""
    batch.node.configure(allowLocalChroot=1)
    done = batch.setup("--job", "12", "--show", image_type="local", image="/")
    assert (done.returncode, done.stderr) == (0, "")
    yield batch
    assert batch.unsetup("--job", "12").returncode == 0
    assert batch.is_clean()


def in_namespace(batch, script: str) -> str:
    """What a task says that the plugin moved into the job's container."""
    as_alice = [f"--reuid={ALICE}", f"--regid={ALICE}", "--clear-groups", "--no-new-privs"]
    done = batch.run(
        *("nsenter", f"--mount={STATE}/12/namespace"),
        *("setpriv", *as_alice, "sh", "-c", script),
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_it_is_made_without_a_loop_device_and_joined_like_any_other(job):
    assert host_state(job.node.prefix) == []
    launch = [job.node.launcher, "--image=local:/", "--verbose", "sh", "-c", "echo $SHIFTER_IMAGE"]

    done = job.run(*launch, user=ALICE, env={"SLURM_JOB_ID": "12"})

    assert done.stdout == "/\n"
    assert "joining the container prepared for job 12" in done.stderr


def test_a_task_in_it_has_the_nodes_programs_and_the_sites_files(job):
    (job.node.shared / str(ALICE) / "mine").write_text("alice's\n")

    said = in_namespace(
        job, f"ls /usr/sbin/fsck; id -un; cat /shared/{ALICE}/mine /var/shifterSlurm.jobid"
    )

    assert said == "/usr/sbin/fsck\nalice\nalice's\n12"


def test_a_task_in_it_reads_and_writes_nothing_that_it_could_not_outside(job):
    mounts = in_namespace(job, "cat /proc/self/mountinfo")
    script = "cat /etc/shadow; touch /usr/x /etc/x; ls /root; true"
    done = in_namespace(job, f"({script}) 2>&1")

    root = next(line for line in mounts.splitlines() if line.split()[4] == "/")
    assert {"nosuid", "nodev"} <= set(root.split()[5].split(","))
    assert "root:" not in done
    assert done.count("Read-only file system") == 2
    assert "Permission denied" in done


def test_a_site_that_does_not_allow_directories_prepares_none(batch):
    done = batch.setup("--job", "12", image_type="local", image="/")

    assert done.returncode == 1
    assert "allowLocalChroot" in done.stderr
    assert batch.is_clean()


@pytest.mark.parametrize("path", ["/proc", "/nowhere", "relative", "/etc/passwd"])
def test_what_is_no_image_for_a_launch_is_none_for_a_job(batch, path):
    batch.node.configure(allowLocalChroot=1)

    done = batch.setup("--job", "12", image_type="local", image=path)

    assert done.returncode == 1
    assert len(done.stderr.splitlines()) == 1
    assert batch.is_clean()


def test_a_directory_that_the_jobs_user_may_not_enter_is_refused(batch):
    batch.node.configure(allowLocalChroot=1)
    private = batch.node.shared / str(BOB)

    assert (
        "Permission denied"
        in batch.setup("--job", "12", image_type="local", image=str(private)).stderr
    )
    assert batch.is_clean()


def test_a_node_whose_own_root_is_an_overlay_will_do(batch, tmp_path):
    """As of diskless nodes: the kernel stacks no more than two."""
    batch.node.configure(allowLocalChroot=1)
    script = (
        f"mount -t tmpfs none {tmp_path} && cd {tmp_path} && mkdir upper work root && "
        "mount -t overlay overlay -o lowerdir=/,upperdir=upper,workdir=work root && "
        "for name in proc sys dev run opt; do mount --rbind /$name root/$name; done && "
        f"exec /usr/sbin/chroot root {batch.node.prefix}/sbin/setupRoot --job 12 -u alice local /"
    )

    done = finish(batch.start("unshare", "--mount", "sh", "-c", script))

    assert (done.returncode, done.stderr) == (0, "")
