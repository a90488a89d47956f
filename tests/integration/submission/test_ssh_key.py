# SPDX-License-Identifier: BSD-3-Clause
"""The key pair of a user, made at submission in homes that are real filesystems."""

from __future__ import annotations

import os
import subprocess

import pytest

from tests.integration.runtime.node import ALICE
from tests.integration.submission.conftest import finish

pytestmark = pytest.mark.root

BY_ID = f"--image=id:{'a' * 64}"
WARNING = "shifter: warning: no ssh into the containers of this job: "


@pytest.fixture
def asking(login_node):
    """A login node, on which there is no need of a gateway."""
    login_node.use("http://127.0.0.1:9")
    os.rmdir(login_node.images)  # which says nothing about images then
    yield login_node
    login_node.images.mkdir()


def public_half_of(path):
    command = ["ssh-keygen", "-y", "-f", path]
    printed = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    return " ".join(printed.split()[:2])


def test_submissions_at_once_agree_on_one_pair(asking):
    started = [asking.start(BY_ID, "--ssh-key") for _ in range(6)]
    answers = [finish(process) for process in started]

    keys = asking.homes / "alice/.udiRoot"
    made = public_half_of(keys / "id_ed25519.key")
    assert [answer.said for answer in answers] == [""] * 6
    assert {answer.records["SHIFTER_SSH_PUBKEY"] for answer in answers} == {made}
    assert sorted(os.listdir(keys)) == ["id_ed25519.key", "id_ed25519.key.pub"]
    assert (keys / "id_ed25519.key").stat().st_uid == ALICE


@pytest.mark.parametrize(
    ("first", "reason"),
    [
        ("mount -t tmpfs -o mode=0777,nr_inodes=1 none {home};", "No space left on device"),
        ("mount -t tmpfs -o mode=0777,nr_inodes=2 none {home};", "No space left on device"),
        ("mount -t tmpfs -o mode=0777,ro none {home};", "Read-only file system"),
        ("mount -t tmpfs -o mode=0755 none {home};", "Permission denied"),
        ("mount -t tmpfs -o mode=0700 none {home};", "Permission denied"),
        ("rmdir {home}; ln -s /proc/self/fd {home};", ".udiRoot"),
    ],
)
def test_home_that_takes_no_key_fails_no_job(first, reason, asking):
    home = asking.homes / "alice"

    answer = asking.submit(BY_ID, "--ssh-key", first=first.format(home=home))

    assert answer.code == 0
    assert answer.records["SHIFTER_IMAGE"] == "a" * 64
    assert "SHIFTER_SSH_PUBKEY" not in answer.records
    assert answer.said.startswith(WARNING)
    assert reason in answer.said
    assert len(answer.said.splitlines()) == 1
