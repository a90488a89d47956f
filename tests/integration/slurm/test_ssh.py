# SPDX-License-Identifier: BSD-3-Clause
"""ssh between the nodes of a job leads into its container, its user and nobody else."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cluster.cluster import Cluster
from tests.integration.conftest import wait_until
from tests.integration.slurm.held_job import HeldJob

pytestmark = pytest.mark.root

PORT = 1204
KEY = ".udiRoot/id_ed25519.key"


@pytest.fixture(scope="module", autouse=True)
def _enable_sshd(cluster: Cluster) -> Iterator[None]:
    with cluster.plugstack(enable_sshd=1):
        yield


def login(
    cluster: Cluster,
    node: str,
    *,
    user: str,
    name: str,
    key: Path | None,
) -> subprocess.CompletedProcess[str]:
    """Log in from outside of any container, with the node's own ssh."""
    identity = ["-i", str(key), "-o", "IdentitiesOnly=yes"] if key else []
    options = ("BatchMode=yes", "StrictHostKeyChecking=no", "UserKnownHostsFile=/dev/null")
    settings = [word for option in options for word in ("-o", option)]
    return cluster.run(
        "n1", "ssh", "-F", "none", "-p", str(PORT), *settings, *identity, "-l", name, node,
        "id", "-un", user=user, cwd="/tmp",
    )  # fmt: skip


def test_ssh_in_a_task_reaches_the_jobs_container_on_each_node_of_the_job(cluster, directory):
    data = directory("ssh-data")
    cluster.write(data / "hers", "")
    job = HeldJob(cluster, "n1", "n2", volume=f"{data}:/data")
    look = "hostname; id -un; readlink /proc/self/ns/mnt; ls /data; echo $SHIFTER_IMAGE"

    found = {
        node: job.inside("n1", f"ssh {node} '{look}'").stdout.splitlines() for node in ("n1", "n2")
    }

    image = cluster.lookup(cluster.busybox)
    for node, lines in found.items():
        joined = job.inside(node, "readlink /proc/self/ns/mnt").stdout.strip()
        assert lines == [node, "alice", joined, "hers", image]


def test_a_node_that_is_not_the_jobs_cannot_be_reached(cluster):
    job = HeldJob(cluster, "n1", "n2")

    done = job.inside("n1", "ssh n3 hostname")

    assert (done.returncode, done.stdout) == (255, "")
    assert f"connect to host n3 port {PORT}: Connection refused" in done.stderr


def test_nobody_but_the_jobs_user_gets_in(cluster):
    make_key(cluster, "bob")
    HeldJob(cluster, "n1").inside("n1", "true")  # which the prolog comes before
    homes = {user: cluster.home(user) for user in ("alice", "bob")}
    copied = cluster.home("bob") / "hers"
    cluster.write(copied, cluster.read(homes["alice"] / f"{KEY}.pub"), user="bob", mode="600")

    hers = login(cluster, "n1", user="alice", name="alice", key=homes["alice"] / KEY)
    refused = [
        login(cluster, "n1", user=user, name=name, key=key)
        for user, name, key in (
            ("bob", "alice", homes["bob"] / KEY),
            ("bob", "bob", homes["bob"] / KEY),
            ("bob", "alice", copied),
            ("root", "alice", None),
            ("root", "root", None),
            ("alice", "root", homes["alice"] / KEY),
            ("alice", "bob", homes["alice"] / KEY),
        )
    ]

    assert (hers.returncode, hers.stdout) == (0, "alice\n"), hers.stderr
    assert [(done.returncode, done.stdout) for done in refused] == [(255, "")] * len(refused)
    assert all("Permission denied (publickey)" in done.stderr for done in refused)


def test_of_two_jobs_on_a_node_the_second_goes_on_without_ssh(cluster):
    first = HeldJob(cluster, "n1")

    second = cluster.sbatch(
        ["srun", "-n2", "shifter", "echo", "in the container"],
        "--nodelist=n1", "-n2", f"--image={cluster.busybox}", user="bob",
    )  # fmt: skip

    output = second.result()
    assert output.count(f"port {PORT} of this node is taken by user id 12001") == 1
    assert output.count("the job goes on without") == 1
    assert output.count("in the container\n") == 2
    assert first.inside("n1", "ssh n1 id -un").stdout == "alice\n"


def test_what_was_started_by_ssh_ends_with_the_job(cluster):
    job = HeldJob(cluster, "n1", "n2")
    nap = str(10_000_000 + job.batch.id)
    started = job.inside("n1", f"ssh n2 'busybox setsid sleep {nap} </dev/null >/dev/null 2>&1 &'")
    assert started.returncode == 0, started.stderr
    node = cluster.node("n2")
    wait_until(lambda: node.pids(f"sleep {nap}"), what="the process started by ssh")
    assert node.pids("sshd: ")

    job.end()

    assert node.pids(f"sleep {nap}") == []
    assert node.pids("sshd: ") == []


def make_key(cluster: Cluster, user: str) -> None:
    """The key pair that submission makes for who has none."""
    job = cluster.sbatch(["true"], f"--image={cluster.busybox}", user=user)
    job.result()
    assert cluster.output("ctl", "stat", "-c", "%a", cluster.home(user) / KEY, user=user) == "600\n"
