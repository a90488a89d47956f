# SPDX-License-Identifier: BSD-3-Clause
"""What launches leave on the node: one loop device for an image while it is used, then nothing."""

from __future__ import annotations

import fcntl
import os
import random
import signal
import subprocess
import time
from pathlib import Path

import pytest

from tests.integration.runtime.node import ALICE, IMAGE_ID, host_state, wait_until

pytestmark = pytest.mark.root


def wait_for_programs(running: list[subprocess.Popen[str]]) -> None:
    """Wait until each launch has become the user's program, which is `sleep`."""
    for process in running:
        wait_until(lambda: _command(process.pid).startswith(b"sleep\0"), seconds=60)  # noqa: B023


def stop(running: list[subprocess.Popen[str]]) -> None:
    for process in running:
        process.kill()
        process.communicate()


def test_a_hundred_launches_at_once_share_one_loop_device(node):
    running = [node.start("sleep", "60") for _ in range(100)]
    try:
        wait_for_programs(running)
        assert len(host_state(node.prefix)) == 1
    finally:
        stop(running)


def test_a_launch_that_hangs_with_the_lock_keeps_nobody_from_his(node):
    assert node.run("true").returncode == 0  # makes the lock file
    with open("/run/shifter/loop.lock") as held:
        fcntl.flock(held, fcntl.LOCK_EX)

        assert node.run("true").returncode == 0


@pytest.mark.parametrize(
    "mount", ["--bind /run /run && mount -o remount,bind,ro", "-t tmpfs -o nr_inodes=1 tmpfs"]
)
def test_a_node_whose_run_takes_no_file_starts_programs(node, mount):
    user = f"setpriv --reuid {ALICE} --regid {ALICE} --clear-groups"
    script = f"mount {mount} /run && exec {user} {node.launcher} --image=id:{IMAGE_ID} id -u"

    done = subprocess.run(
        ["unshare", "--mount", "sh", "-c", script],
        cwd="/", capture_output=True, text=True, timeout=60,
    )  # fmt: skip

    assert (done.stdout, done.stderr) == (f"{ALICE}\n", "")


def test_two_images_have_a_device_each(node):
    node.add_image(image_id="b" * 64)
    running = [node.start("sleep", "60", image=f"id:{letter * 64}") for letter in "ab"]
    try:
        wait_for_programs(running)
        assert len(host_state(node.prefix)) == 2
    finally:
        stop(running)


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_a_launch_killed_at_any_moment_leaves_nothing(node, number):
    moments = random.Random(20)
    for _ in range(15):
        process = node.start("sleep", "10")
        time.sleep(moments.uniform(0, 0.03))
        process.send_signal(number)
        process.send_signal(signal.SIGKILL)
        process.communicate()

    # What is asserted is that no mount and no loop device is left: see the fixture `node`.


def test_a_container_survives_the_removal_of_its_image(node):
    reading, writing = os.pipe()
    process = node.start("sh", "-c", f"read x <&{reading}; cat /etc/os-release",
                         pass_fds=(reading,), env={"PMI_FD": str(reading)})  # fmt: skip
    os.close(reading)
    while not _command(process.pid).startswith(b"sh\0"):
        time.sleep(0.02)
    for file in node.images.iterdir():
        file.unlink()
    os.write(writing, b"go\n")
    os.close(writing)

    assert process.communicate()[0] == "ID=busybox\n"


def _command(pid: int) -> bytes:
    return Path(f"/proc/{pid}/cmdline").read_bytes()
