# SPDX-License-Identifier: BSD-3-Clause
"""Imports that take too long, and workers that die on the way."""

from __future__ import annotations

import os
import signal
import subprocess
from pathlib import Path

import pytest

from tests.integration.importers.conftest import ACCOUNT, ALICE, failure, running

pytestmark = [pytest.mark.munge, pytest.mark.root]


@pytest.fixture(params=["tree", "file"])
def endless(request, home):
    """What takes minutes to read, and no space."""
    path = home() / "root"
    path.mkdir()
    subprocess.run(["mksquashfs", path, home() / "large.squashfs", "-quiet"], check=True,
                   stdout=subprocess.DEVNULL)  # fmt: skip
    large = home() / "large.squashfs"
    if request.param == "tree":
        large = path / "sparse"
        large.touch()
    os.truncate(large, 400 << 30)
    os.chown(large, ALICE, ALICE)
    large.chmod(0o644)
    return path if request.param == "tree" else large


@pytest.fixture(scope="module")
def hurried_gateway(place, munged):
    directory = place / "hurried"
    with running(directory, munged, account=0, MaxImageSize="1T", PullTimeout=1) as gateway:
        yield gateway


def test_an_import_that_takes_too_long_ends(hurried_gateway, ask_of, endless):
    said = failure(ask_of(hurried_gateway, endless))

    assert "which is the limit (PullTimeout)" in said


@pytest.mark.parametrize("account", [0, ACCOUNT])
@pytest.mark.parametrize("endless", ["tree"], indirect=True)
def test_who_reads_a_tree_ends_with_the_worker(run_gateway, post, endless, account, wait_for):
    with run_gateway(account=account, MaxImageSize="1T") as gateway:
        post(gateway, endless, "killed:1")
        readers = wait_for(lambda: children_of_workers(gateway), what="the import")
        (worker,) = {parent_of(reader) for reader in readers}

        os.kill(worker, signal.SIGKILL)

        wait_for(lambda: not any(map(is_running, readers)), what="their end")


@pytest.mark.parametrize("endless", ["file"], indirect=True)
def test_no_copy_is_left_of_a_worker_that_is_killed(run_gateway, post, endless, wait_for):
    with run_gateway(account=ACCOUNT, MaxImageSize="1T") as gateway:
        before = names_in(gateway.directory / "cache")
        post(gateway, endless, "killed:1")
        wait_for(lambda: has_read_some(post(gateway, endless, "killed:1")), what="the import")

        gateway.kill()

        assert names_in(gateway.directory / "cache") <= before


def children_of_workers(gateway):
    processes = gateway.processes()
    workers = {pid for pid in processes if name_of(pid).startswith("gw-worker")}
    return {pid for pid in processes if parent_of(pid) in workers}


def name_of(pid):
    return Path(f"/proc/{pid}/comm").read_text()


def parent_of(pid):
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])


def is_running(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def names_in(directory):
    return {name for name in os.listdir(directory) if "sqlite" not in name}


def has_read_some(record):
    assert record["status"] != "FAILURE", record["status_message"]
    return record["bytes_done"]
