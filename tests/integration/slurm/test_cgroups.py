# SPDX-License-Identifier: BSD-3-Clause
"""What runs for a job outside of its steps is in a control group, and ends with the job."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cluster.accounts import ALICE
from tests.cluster.cluster import Cluster
from tests.integration.conftest import wait_until
from tests.integration.slurm.held_job import HeldJob

pytestmark = pytest.mark.root

MOUNT, GROUPS = "/run/hierarchy", "/run/groups"


@pytest.fixture(params=["v1", "v2"])
def memory_cgroup(cluster: Cluster, request: pytest.FixtureRequest) -> Iterator[str]:
    """A directory of n1 whose control groups no other run of these tests has."""
    node, name = cluster.node("n1").place, f"shifter-test-{cluster.world.pid}"
    kind = "cgroup2" if request.param == "v2" else f"cgroup -o none,name={name}"
    begin = f"""
        mkdir -p {MOUNT} {GROUPS}
        mount -t {kind} none {MOUNT}
        mkdir {MOUNT}/{name}
        mount --bind {MOUNT}/{name} {GROUPS}
    """
    assert node.run("sh", "-ec", begin).stderr == ""
    with cluster.plugstack(memory_cgroup=GROUPS, enable_sshd=1):
        yield GROUPS
    end = f"""
        find {MOUNT}/{name} -depth -type d -exec rmdir {{}} +
        umount {GROUPS} {MOUNT}
    """
    assert node.run("sh", "-c", end).stderr == ""

    def is_forgotten() -> bool:
        # The kernel keeps a hierarchy whose last mount goes a moment after its last group.
        if f"name={name}:" not in Path("/proc/self/cgroup").read_text():
            return True
        assert node.run("sh", "-c", f"mount -t {kind} none {MOUNT}; umount {MOUNT}").stderr == ""
        return False

    wait_until(is_forgotten, what="the end of the hierarchy")


def members(cluster: Cluster, group: str) -> set[str]:
    """The processes of n1 in a group and in those below it."""
    script = "find $0 -name cgroup.procs -exec cat {} +"
    return set(cluster.output("n1", "sh", "-c", script, group, user="root").split())


@pytest.fixture
def groups_of_setup(cluster: Cluster) -> Iterator[Path]:
    """A file of n1 into which a hook of setupRoot's writes which groups it is in."""
    name, path = "groups_hook", Path("/run/groups-of-setup")
    hook = cluster.world.directory / "etc/shifter" / name
    hook.write_text(f"cat /proc/self/cgroup >{path}\n")
    with cluster.settings(sitePreMountHook=cluster.prefix / "etc" / name):
        yield path
    hook.unlink()


def test_setup_root_and_sshd_are_in_the_group_of_their_job(
    cluster: Cluster, memory_cgroup: str, groups_of_setup: Path
):
    job = HeldJob(cluster, "n1")
    nap = f"sleep {10_000_000 + job.batch.id}"
    job.inside("n1", f"ssh n1 'busybox setsid {nap} </dev/null >/dev/null 2>&1 &'")
    wait_until(lambda: cluster.node("n1").pids(nap), what="what is started by ssh")
    group = f"shifter/uid_{ALICE}/job_{job.batch.id}"
    daemon = cluster.output("n1", "cat", f"/run/shifter/udi/{job.batch.id}/sshd", user="root")

    found = members(cluster, f"{memory_cgroup}/{group}")

    assert daemon.split()[0] in found
    assert cluster.output("n1", "pgrep", "-fx", nap, user="root").strip() in found
    assert f"/{group}\n" in cluster.output("n1", "cat", groups_of_setup, user="root")
    job.end()
    assert cluster.node("n1").pids(nap) == []
    left = cluster.output("n1", "find", memory_cgroup, "-mindepth", "1", "-type", "d", user="root")
    assert left == ""
