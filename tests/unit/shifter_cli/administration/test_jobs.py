# SPDX-License-Identifier: BSD-3-Clause
from __future__ import annotations

import json
import time

import pytest

RUNNING = {
    "status": "PULLING", "image": "app:1", "puller": 7, "status_message": "PULLING",
    "bytes_done": 250, "bytes_total": 1000, "itype": "docker", "kind": "pull",
    "puller_name": "bob", "attempts": 1, "is_mine": False,
}  # fmt: skip
FAILED = {
    "status": "FAILURE", "image": "gone:1", "puller": 8, "status_message": "there is no gone:1: "
    "check the name and the tag, which a registry knows only if somebody has pushed it there",
    "bytes_done": None, "bytes_total": None, "itype": "custom", "kind": "import", "attempts": 3,
}  # fmt: skip
OF_AN_OLD_GATEWAY = {"status": "PENDING", "image": "old:1"}


def test_jobs_are_listed_with_user_progress_and_the_reason_of_a_failure(run, gateway):
    gateway.answer({"list": [RUNNING | {"since": time.time() - 600}, FAILED, OF_AN_OLD_GATEWAY]})

    result = run("queue")

    lines = result.stdout.splitlines()
    assert lines[0].split() == ["STATE", "AGE", "USER", "TRIES", "DONE", "IMAGE"]
    assert lines[1].split() == ["PULLING", "10", "min", "bob", "1", "25%", "docker:app:1"]
    assert lines[2].split() == ["FAILURE", "-", "user8", "3", "-", "custom:gone:1", "(import)"]
    assert lines[3].startswith("    there is no gone:1")
    assert lines[-1].split() == ["PENDING", "-", "-", "-", "-", "old:1"]
    assert max(map(len, lines)) <= 80


def test_only_failures_can_be_asked_for(run, gateway):
    gateway.answer({"list": [RUNNING, FAILED]})

    assert json.loads(run("queue", "--failed", "--json").stdout) == [FAILED]


def test_an_empty_queue_is_said_to_be(run, gateway):
    gateway.answer({"list": []})

    assert run("queue").stdout == "nothing waits, runs or has failed\n"


@pytest.mark.parametrize(("command", "words"), [("cancel", "cancelled"), ("requeue", "PENDING")])
def test_a_job_is_changed_by_its_name(run, gateway, command, words):
    gateway.answer({"status": "PENDING"})

    result = run(command, "lib/app", "--yes")

    assert (result.code, result.stdout) == (0, f"docker:lib/app:latest: {words}\n")
    path = f"POST /api/{command}/mycluster/docker/lib%2Fapp%3Alatest/ HTTP/1.1"
    assert gateway.requests[0].line == path


def test_a_terminal_obeys_no_state_that_a_gateway_tells(run, gateway):
    gateway.answer({"status": "\x1b[2JREADY"})

    assert run("requeue", "app:1", "--yes").stdout == "docker:app:1: \\x1b[2JREADY\n"


@pytest.mark.parametrize("command", ["cancel", "requeue"])
def test_nothing_is_changed_where_nobody_can_be_asked(run, gateway, command, monkeypatch):
    monkeypatch.setattr("sys.stdin", None)

    result = run(command, "app:1")

    assert result.code == 1
    assert "there is nobody to ask: say --yes" in result.stderr
    assert gateway.requests == []


def test_who_sits_there_is_asked_and_may_say_no(run, gateway):
    result = run("cancel", "app:1", typed=["n\n"])

    assert result.code == 130
    assert gateway.requests == []


def test_a_job_that_is_not_there_is_told_of_in_the_gateway_s_words(run, gateway):
    gateway.answer({"error": "nothing is being done for docker:app:1"}, status="404 Not Found")

    result = run("cancel", "app:1", "--yes")

    assert result.code == 1
    assert "cannot cancel docker:app:1: nothing is being done" in result.stderr
