# SPDX-License-Identifier: BSD-3-Clause
"""The cluster that the other tests here work on: what it is, and that its parts are apart."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.integration.conftest import wait_until

pytestmark = pytest.mark.root

ROOT = Path(__file__).parents[3]


def test_nodes_have_names_networks_and_mounts_of_their_own(cluster):
    script = "hostname; cat /sys/class/net/eth0/address; readlink /proc/self/ns/mnt"

    lines = [cluster.output(node, "sh", "-c", script).splitlines() for node in cluster.nodes]

    assert [line[0] for line in lines] == cluster.nodes
    assert all(len(set(column)) == len(cluster.nodes) for column in zip(*lines, strict=True))


def test_tasks_of_one_step_run_on_all_nodes(cluster):
    done = cluster.srun("-N3", "-n6", "hostname")

    assert done.returncode == 0, done.stderr
    assert set(done.stdout.split()) == set(cluster.nodes)


def test_root_has_no_rights_on_the_shared_filesystem(cluster):
    path = cluster.write(cluster.home("alice") / "private", "hers", mode="600")

    assert cluster.run("n1", "cat", path, user="alice").stdout == "hers"
    for other in ("root", "bob"):
        assert "Permission denied" in cluster.run("n2", "cat", path, user=other, cwd="/tmp").stderr


def test_the_gateway_counts_each_lookup(cluster):
    before = cluster.gateway_requests()

    cluster.lookup(cluster.busybox)

    assert cluster.gateway_requests() == before + 1


def test_a_rebooted_node_takes_jobs_again(cluster):
    cluster.reboot("n3")
    cluster.wait_idle()

    assert cluster.srun("-w", "n3", "hostname").stdout == "n3\n"


def test_images_are_launched_that_root_may_not_read(cluster):
    path = f"/global/images/{cluster.lookup(cluster.busybox)}.squashfs"

    assert cluster.run("n1", "head", "-c1", path, user="root").returncode == 1
    launched = cluster.run("n1", "shifter", f"--image={cluster.busybox}", "echo", "inside")

    assert launched.stdout == "inside\n", launched.stderr


def test_all_of_a_cluster_ends_when_the_tests_are_killed():
    """Its processes are there for whoever looks from outside; with them go mounts and networks."""
    script = (
        "import sys; from tests.cluster.places import World; world = World();"
        "kept = world.place.start('sleep', '977'); print(world.pid, flush=True); sys.stdin.read()"
    )
    tests = subprocess.Popen(
        [sys.executable, "-c", script], cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert tests.stdin is not None
    assert tests.stdout is not None
    world = Path("/proc", tests.stdout.readline().decode().strip())
    wait_until(lambda: _in_namespace_of(world, "sleep\0977\0"), what="a process in it")
    namespace = (world / "ns/pid").readlink()

    tests.kill()

    wait_until(lambda: not world.exists(), what="its end")
    assert not _members(namespace)
    tests.communicate()


def _in_namespace_of(world, command):
    return any(
        (process / "cmdline").read_text() == command
        for process in _members((world / "ns/pid").readlink())
    )


def _members(namespace):
    """Processes in a process namespace."""
    found = []
    for process in Path("/proc").iterdir():
        if process.name.isdecimal():
            try:
                if (process / "ns/pid").readlink() == namespace:
                    found.append(process)
            except OSError:
                continue  # it has ended
    return found
