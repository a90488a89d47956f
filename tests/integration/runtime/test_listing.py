# SPDX-License-Identifier: BSD-3-Clause
"""`unsetupRoot --list` and `--all`: what is prepared on a node, and a node without any of it."""

from __future__ import annotations

import json
import re

import pytest

from tests.integration.runtime.batch import STATE, finish
from tests.integration.runtime.node import ALICE, BOB, IMAGE_ID

pytestmark = pytest.mark.root


def listed(batch) -> dict[str | None, dict[str, object]]:
    done = batch.unsetup("--list", "--json")
    assert (done.returncode, done.stderr) == (0, "")
    return {entry["job"]: entry for entry in json.loads(done.stdout)}


def test_a_node_without_containers_lists_none(batch):
    assert batch.unsetup("--list", "--json").stdout == "[]\n"
    assert batch.unsetup("--list").stdout.split() == ["JOB", "USER", "IMAGE", "SINCE", "PROCESSES"]
    assert batch.is_clean()


def test_each_container_is_listed_with_what_it_was_made_of(batch):
    batch.node.configure(module_one_siteEnv="A=1")
    batch.setup("--job", "12", "--show", "-v", "/shared:/data", "-m", "one")
    batch.setup("--job", "13", "-u", "bob", "--request=docker:debian")
    entries = listed(batch)

    assert set(entries) == {"12", "13"}
    since = entries["12"].pop("since")
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d[+-]\d{4}", since)
    assert entries["12"] == {
        "job": "12", "prepared": True, "shown": True, "processes": [], "user": "alice",
        "uid": ALICE, "image": IMAGE_ID, "request": "", "volumes": "/shared:/data",
        "modules": "one",
    }  # fmt: skip
    assert entries["13"]["request"] == "docker:debian:latest"
    assert (entries["13"]["uid"], entries["13"]["shown"]) == (BOB, False)


def test_the_table_has_a_line_for_each(batch):
    batch.setup()
    batch.setup("--job", "13", "-u", "bob", "--request=docker:debian")
    batch.run("mkdir", f"{STATE}/14")

    rows = [line.split() for line in batch.unsetup("--list").stdout.splitlines()[1:]]

    assert [row[:3] + row[4:] for row in rows] == [
        ["13", "bob", "docker:debian:latest", "0"],
        ["14", "(unfinished)", "-", "0"],
        ["(node)", "alice", IMAGE_ID[:12], "0"],
    ]


def test_processes_inside_are_listed_where_they_are(batch):
    batch.setup("--job", "12")
    batch.setup("--job", "13")
    inside = batch.start_shifter("sh", "-c", "echo in; exec sleep 1000", job="12")
    assert inside.stdout is not None
    assert inside.stdout.readline() == "in\n"
    try:
        entries = listed(batch)
    finally:
        inside.kill()
        finish(inside)

    assert entries["12"]["processes"] in (
        [{"pid": inside.pid, "name": "sh"}],
        [{"pid": inside.pid, "name": "sleep"}],
    )
    assert entries["13"]["processes"] == []


def test_all_are_taken_down_however_they_were_left(batch):
    batch.setup()
    batch.setup("--job", "12")
    batch.run("mkdir", f"{STATE}/14")
    batch.run("rm", f"{STATE}/12/record")
    batch.setup("--job", "13", "-u", "bob")

    done = batch.unsetup("--all")

    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert batch.is_clean()
    assert batch.unsetup("--all").returncode == 0


def test_all_takes_down_the_job_that_is_shown(batch):
    batch.setup("--job", "12", "--show")

    assert "nothing is left of a container for job 12" in batch.unsetup("--all", "-v").stderr
    assert batch.is_clean()


def test_one_that_cannot_be_taken_down_keeps_no_other(batch):
    batch.setup("--job", "12")
    batch.setup("--job", "13")
    stuck = f"{STATE}/12/more"
    batch.run("sh", "-c", f"touch {stuck} && mount --bind /dev/null {stuck}")

    done = batch.unsetup("--all")

    assert done.returncode == 1
    assert "job 12: " in done.stderr
    assert f"{stuck} is still mounted" in done.stderr
    assert batch.kept() == ["12"]
    batch.run("umount", stuck)
    assert batch.unsetup("--all").returncode == 0
    assert batch.is_clean()


@pytest.mark.parametrize("words", [["--list"], ["--all"]])
def test_users_may_neither_list_nor_take_down(batch, words):
    batch.setup("--job", "12")

    done = batch.run(batch.node.prefix / "sbin/unsetupRoot", *words, user=ALICE)

    assert (done.returncode, done.stdout) == (1, "")
    assert batch.kept() == ["12"]


@pytest.mark.parametrize(
    "words", [["--all", "--list"], ["--job=12", "--all"], ["--job", "12", "--list"]]
)
def test_only_one_of_them_can_be_meant(batch, words):
    assert batch.unsetup(*words).returncode == 2
