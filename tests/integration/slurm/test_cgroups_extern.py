# SPDX-License-Identifier: BSD-3-Clause
"""The extern step of a job, and tasks that are in its container from their first instruction."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.cluster.accounts import ALICE
from tests.cluster.cluster import Cluster
from tests.integration.slurm.held_job import HeldJob

pytestmark = pytest.mark.root

TRACKED = "/run/tracked"


@pytest.fixture
def setup_script(cluster: Cluster) -> Iterator[Callable[[str], Path]]:
    """A script of the site's, the same on all nodes, with which jobs are set up meanwhile."""
    path = cluster.prefix / "etc/extern_setup"
    file = cluster.world.directory / "etc/shifter/extern_setup"

    def write(text: str, mode: int = 0o755) -> Path:
        file.write_text(f"#!/bin/sh\n{text}")
        file.chmod(mode)
        return path

    with cluster.plugstack(extern_setup=path):
        yield write
    file.unlink()


def test_tasks_wait_for_what_the_site_sets_up_once_on_each_node(cluster, setup_script):
    # As long as a step would take to start, if it did not wait.
    setup_script('sleep 1; echo "$(id -u) $SHIFTER_NAMESPACE" >>/run/set-up-$SLURM_JOB_ID\n')
    script = "srun -Q -N2 -n4 sh -c 'cat /run/set-up-$SLURM_JOB_ID'\n"

    job = cluster.sbatch(f"#!/bin/sh\n{script}{script}", "-N2", "-n4", f"--image={cluster.busybox}")

    line = f"0 /run/shifter/udi/{job.id}/namespace\n"
    assert job.result() == line * 8


def test_a_script_that_others_can_change_is_not_run(cluster, setup_script):
    setup_script("echo ran >/run/set-up-by-others\n", mode=0o777)

    done = cluster.srun("--quiet", f"--image={cluster.busybox}", "ls", "/run/set-up-by-others")

    assert "cannot access '/run/set-up-by-others'" in done.stderr


def test_ccm_runs_the_job_in_a_container_that_is_like_the_node(cluster):
    look = (
        "id -un; pwd; grep NoNewPrivs /proc/self/status; readlink /bin/sh /proc/self/ns/mnt;"
        "cat /var/shifterConfig.json\n"
    )
    outside = cluster.output("n1", "readlink", "/bin/sh", "/proc/self/ns/mnt").splitlines()

    with cluster.plugstack(enable_ccm=1), cluster.settings(allowLocalChroot=1):
        options = {"cwd": "/global/scratch", "user": "alice"}
        script = cluster.sbatch(f"#!/bin/bash\n{look}", "--ccm", "--nodelist=n1", **options)
        printed = [script.result()]
        step = cluster.srun("--quiet", "--ccm", "--nodelist=n1", "bash", "-c", look, **options)
        printed.append(step.stdout)

    description = '{"identifier":"/","user":"alice","volMap":"","modules":""}'
    expected = ["alice", "/global/scratch", "NoNewPrivs:\t1", outside[0], description]
    for lines in map(str.splitlines, printed):
        assert lines.pop(4).startswith("mnt:")
        assert lines == expected


@pytest.fixture
def tracked(cluster: Cluster) -> Iterator[None]:
    """Have Slurm on n1 keep each step in a control group, below one that nobody else has."""
    node, name = cluster.node("n1"), f"shifter-test-{cluster.world.pid}"
    etc = cluster.world.directory / "etc/slurm"
    before = {file: (etc / file).read_text() for file in ("slurm.conf", "cgroup.conf")}
    (etc / "slurm.conf").write_text(before["slurm.conf"].replace("/linuxproc", "/cgroup"))
    (etc / "cgroup.conf").write_text(f"{before['cgroup.conf']}CgroupMountpoint={TRACKED}\n")
    node.stop_slurmd()
    start = f"""
        mkdir -p {TRACKED}/freezer {TRACKED}/root
        mount -t cgroup -o freezer none {TRACKED}/root
        mkdir {TRACKED}/root/{name}
        echo $$ >{TRACKED}/root/{name}/cgroup.procs
        exec unshare --cgroup sh -ec '
            mount -t cgroup -o freezer none {TRACKED}/freezer
            exec slurmd -D -N n1'
    """
    node.start_daemon("sh", "-ec", start)
    node.daemons["slurmd"] = node.daemons.pop("sh")
    yield
    cluster.cancel_all()
    cluster.wait_idle()
    node.stop_slurmd()
    for file, text in before.items():
        (etc / file).write_text(text)
    end = f"""
        find {TRACKED}/root/{name} -depth -type d -exec rmdir {{}} +
        umount {TRACKED}/freezer {TRACKED}/root
    """
    assert node.place.run("sh", "-c", end).stderr == ""
    node.start_slurmd()


def test_sshd_becomes_a_part_of_the_extern_step(cluster, tracked):
    with cluster.plugstack(enable_sshd=1, extern_cgroup=1):
        job = HeldJob(cluster, "n1")
        nap = f"sleep {10_000_000 + job.batch.id}"
        job.inside("n1", f"ssh n1 'busybox setsid {nap} </dev/null >/dev/null 2>&1 &'")
        (napping,) = cluster.node("n1").pids(nap)

        groups = Path(f"/proc/{napping}/cgroup").read_text()

        assert f"/uid_{ALICE}/job_{job.batch.id}/step_extern\n" in groups
        job.end()
        assert cluster.node("n1").pids(nap) == []
