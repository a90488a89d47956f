# SPDX-License-Identifier: BSD-3-Clause
"""`setupRoot --job ID --show`: a job's container on udiMount, as the original's prolog made it."""

from __future__ import annotations

import pytest

from tests.integration.runtime.batch import STATE, finish
from tests.integration.runtime.node import ALICE, BOB, IMAGE_ID

pytestmark = pytest.mark.root


def shown(batch) -> str:
    """The job whose container udiMount shows; nothing where it shows none."""
    return batch.run("cat", batch.node.prefix / "udi/var/shifterSlurm.jobid").stdout


def prepare(batch, job: str, *words: str) -> None:
    done = batch.setup("--job", job, "--show", *words)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_a_shown_container_is_the_one_that_launches_join(batch):
    prepare(batch, "12")
    place = batch.node.prefix / "udi"

    assert batch.joined(job="12") == "12"
    assert shown(batch) == "12"
    assert batch.run("cat", place / "var/shifterConfig.json").stdout == (
        batch.shifter("cat", "/var/shifterConfig.json", job="12").stdout
    )
    outside = batch.run("stat", "-c", "%d:%i", place).stdout
    assert outside == batch.shifter("busybox", "stat", "-c", "%d:%i", "/", job="12").stdout


def test_every_job_finds_its_id_in_its_container(batch):
    batch.setup("--job", "12.server")
    batch.setup()

    read = ("cat", "/var/shifterSlurm.jobid")
    assert batch.shifter(*read, job="12.server").stdout == "12.server"
    assert batch.shifter(*read).returncode != 0  # the container of the node is no job's


def test_a_shown_container_is_its_users_and_roots_alone(batch):
    prepare(batch, "12")
    place = batch.node.prefix / "udi"

    listed = {user: batch.run("ls", place, user=user).returncode for user in (0, ALICE, BOB)}

    assert listed[0] == listed[ALICE] == 0
    assert listed[BOB] != 0


def test_the_second_job_of_a_node_is_not_shown_and_says_nothing_of_it(batch):
    prepare(batch, "12")
    prepare(batch, "13", "-u", "bob")

    assert shown(batch) == "12"
    assert (batch.joined(job="12"), batch.joined(job="13", user=BOB)) == ("12", "13")


@pytest.mark.parametrize("order", [("12", "13"), ("13", "12")])
def test_each_epilog_takes_down_its_own(batch, order):
    prepare(batch, "12")
    prepare(batch, "13")

    first, second = order
    assert batch.unsetup("--job", first).returncode == 0
    assert shown(batch) == ("12" if second == "12" else "")
    assert batch.kept() == [second]
    assert batch.unsetup("--job", second).returncode == 0
    assert batch.is_clean()


def test_when_the_first_job_has_ended_the_next_is_shown(batch):
    prepare(batch, "12")
    batch.unsetup("--job", "12")
    prepare(batch, "13")

    assert shown(batch) == "13"


def test_who_has_lost_the_place_takes_nothing_from_whom_has_it(batch):
    """Somebody unmounted it by hand, and another job came."""
    prepare(batch, "12")
    batch.run("umount", "--recursive", "--lazy", batch.node.prefix / "udi")
    batch.run("umount", "--recursive", "--lazy", batch.node.prefix / "udi")
    prepare(batch, "13")
    assert shown(batch) == "13"

    assert batch.joined(job="12") == "12"  # it does not need the place
    assert batch.unsetup("--job", "12").returncode == 0
    assert shown(batch) == "13"
    assert batch.unsetup("--job", "13").returncode == 0
    assert batch.is_clean()


def test_who_was_killed_before_showing_takes_nothing_from_whom_is_shown(batch):
    prepare(batch, "13")
    mark = f"999999 {batch.node.prefix}/udi"
    batch.run("sh", "-c", f"mkdir {STATE}/12 && echo -n {mark} > {STATE}/12/shown")

    assert batch.unsetup("--job", "12").returncode == 0
    assert shown(batch) == "13"


def test_a_container_is_taken_from_where_it_was_shown_when_udimount_has_changed(batch):
    prepare(batch, "12")
    batch.node.configure(udiMount=batch.node.prefix / "other")
    prepare(batch, "13")

    assert batch.unsetup("--job", "12").returncode == 0
    assert shown(batch) == ""
    assert batch.run("cat", batch.node.prefix / "other/var/shifterSlurm.jobid").stdout == "13"
    assert batch.unsetup("--job", "13").returncode == 0
    assert batch.is_clean()


def test_what_somebody_else_mounted_on_udimount_stays(batch):
    place = batch.node.prefix / "udi"
    batch.run("mkdir", "-p", place)
    batch.run("mount", "-t", "tmpfs", "none", place)
    prepare(batch, "12")

    assert batch.unsetup("--job", "12").returncode == 0
    assert [line.split(" - ")[1].split()[0] for line in batch.mounts()] == ["tmpfs"]


def test_of_eight_at_once_one_is_shown_and_all_are_taken_down_at_once(batch):
    setup, unsetup = (batch.node.prefix / "sbin" / name for name in ("setupRoot", "unsetupRoot"))
    jobs = [str(job) for job in range(8)]
    done = [
        finish(process)
        for process in [
            batch.start(setup, "--job", job, "--show", "-u", "alice", "id", IMAGE_ID)
            for job in jobs
        ]
    ]

    assert [(each.returncode, each.stderr) for each in done] == [(0, "")] * 8
    assert shown(batch) in jobs
    devices = [line for line in batch.mounts() if line.split()[4] == str(batch.node.prefix / "udi")]
    assert len(devices) == 2  # one tree, on the private mount below it
    done = [finish(process) for process in [batch.start(unsetup, "--job", job) for job in jobs]]
    assert [(each.returncode, each.stderr) for each in done] == [(0, "")] * 8
    assert batch.is_clean()


def test_the_nodes_container_does_not_push_a_job_aside(batch):
    prepare(batch, "12")

    done = batch.setup()

    assert done.returncode == 1
    assert "the container for job 12 is shown on" in done.stderr
    assert "unsetupRoot --job 12" in done.stderr
    assert batch.unsetup().returncode == 0  # of the node: there is none
    assert shown(batch) == "12"


def test_a_job_does_not_push_the_nodes_container_aside(batch):
    batch.setup()
    prepare(batch, "12")

    assert batch.unsetup("--job", "12").returncode == 0
    assert batch.joined() == "node"
