# SPDX-License-Identifier: BSD-3-Clause
"""Prologs and epilogs as they come: killed, twice, together, around processes and dead servers."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.runtime.batch import BatchNode, finish
from tests.integration.runtime.node import ALICE, BOB, IMAGE_ID, host_state, wait_until

pytestmark = pytest.mark.root

JOBS = [str(job) for job in range(1, 17)]


def words_for(batch: BatchNode, job: str) -> list[object]:
    user = "alice" if int(job) % 2 else "bob"
    program = batch.node.prefix / "sbin/setupRoot"
    return [program, "--job", job, "--show", "-u", user, "-v", "/shared:/data", "id", IMAGE_ID]


def user_of(job: str) -> int:
    return ALICE if int(job) % 2 else BOB


def test_sixteen_jobs_come_and_go_together(batch):
    """Each has a process inside, with a file open there and in a directory of the container."""
    done = [finish(each) for each in [batch.start(*words_for(batch, job)) for job in JOBS]]
    assert [(each.returncode, each.stderr) for each in done] == [(0, "")] * 16
    inside = [
        batch.start_shifter(
            *("--volume=/shared:/data", "--workdir=/data", "sh", "-c"),
            "exec 3</etc/os-release; echo in; exec sleep 1000",
            job=job, user=user_of(job),
        )
        for job in JOBS
    ]  # fmt: skip
    assert [each.stdout.readline() for each in inside if each.stdout] == ["in\n"] * 16

    unsetup = batch.node.prefix / "sbin/unsetupRoot"
    ending = [batch.start(unsetup, "--job", job) for job in JOBS for _ in range(2)]  # twice, too
    done = [finish(each) for each in ending]

    assert [(each.returncode, each.stderr) for each in done] == [(0, "")] * 32
    assert batch.is_clean()
    for each in inside:
        assert each.poll() is None  # left alone
        each.kill()
        finish(each)
    wait_until(lambda: not host_state(batch.node.prefix), seconds=20)


def test_prologs_that_are_killed_while_others_run_harm_nobody(batch):
    prologs = {job: batch.start(*words_for(batch, job)) for job in JOBS}
    for job in JOBS[::2]:
        prologs[job].kill()
    status = {job: finish(each).returncode for job, each in prologs.items()}

    assert {status[job] for job in JOBS[1::2]} == {0}
    for job in JOBS[1::2]:
        assert batch.joined("--volume=/shared:/data", job=job, user=user_of(job)) == job
    again = [finish(batch.start(*words_for(batch, job))).returncode for job in JOBS[::2]]
    assert set(again) <= {0, 3}  # a requeued job
    assert [batch.unsetup("--job", job).returncode for job in JOBS] == [0] * 16
    assert batch.is_clean()


@contextlib.contextmanager
def volume_of_a_server(batch: BatchNode) -> Iterator[tuple[Path, int]]:
    """A directory below /shared that a process serves, and the number of that process."""
    place = batch.node.shared / "served"
    place.mkdir()
    batch.node.configure(siteFs=f"{batch.node.shared}:/shared:rec")
    server = batch.start(
        "squashfuse", "-f", "-o", "allow_other", batch.node.images / f"{IMAGE_ID}.squashfs", place
    )
    try:
        wait_until(lambda: batch.run("ls", place / "etc").returncode == 0)
        yield place, server.pid
    finally:
        server.kill()
        finish(server)
        batch.run("umount", "--lazy", place)
        place.rmdir()


def waits_for_the_server(process: subprocess.Popen[str]) -> bool:
    """Whether it is in the kernel, in fuse's request_wait_answer()."""
    return "request_wait" in Path(f"/proc/{process.pid}/wchan").read_text()


def test_a_prolog_that_hangs_in_a_dead_volume_can_be_killed_and_leaves_nothing(batch):
    with volume_of_a_server(batch) as (place, server):
        program = batch.node.prefix / "sbin/setupRoot"
        os.kill(server, signal.SIGSTOP)
        prolog = batch.start(
            *(program, "--job", "12", "--show", "-u", "alice"),
            *("-v", "/shared/served/etc:/data", "id", IMAGE_ID),
        )
        wait_until(lambda: waits_for_the_server(prolog))

        prolog.kill()  # as the batch system's limit does
        finish(prolog)

        assert batch.kept() == []
        assert [line for line in batch.mounts() if line.split()[4] != str(place)] == []
        assert batch.unsetup("--job", "12").returncode == 0
        assert batch.setup("--job", "13").returncode == 0  # who does not name it is not held up
        assert batch.unsetup("--job", "13").returncode == 0


def test_an_epilog_does_not_wait_for_a_server_that_died_meanwhile(batch):
    with volume_of_a_server(batch) as (_, server):
        volume = "--volume=/shared/served/etc:/data"
        assert batch.setup("--job", "12", "--show", volume).returncode == 0
        inside = batch.start_shifter(
            volume, "--workdir=/data", "sh", "-c", "exec 3<os-release; echo in; exec sleep 1000",
            job="12",
        )  # fmt: skip
        assert inside.stdout is not None
        assert inside.stdout.readline() == "in\n"
        os.kill(server, signal.SIGSTOP)

        lister = batch.node.prefix / "sbin/unsetupRoot"
        listed = batch.run("timeout", "30", lister, "--list", "--json")
        taken_down = batch.run("timeout", "30", lister, "--job", "12", "-v")

        assert (listed.returncode, taken_down.returncode) == (0, 0), taken_down.stderr
        assert f'"pid":{inside.pid}' in listed.stdout
        assert batch.kept() == []
        os.kill(server, signal.SIGCONT)  # even to end, who is inside waits for it
        inside.kill()
        finish(inside)
