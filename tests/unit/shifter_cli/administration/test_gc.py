# SPDX-License-Identifier: BSD-3-Clause
from __future__ import annotations

import json
import time

import pytest


def image(tag, expires_in):
    return {
        "id": "a" * 64, "system": "mycluster", "itype": "docker", "tag": [tag], "status": "READY",
        "last_pull": 1.0, "size": 5_000_000, "expiration": time.time() + expires_in,
    }  # fmt: skip


OLD, NEW = image("old:1", -10), image("new:1", 1_000_000)


def test_on_a_gateway_s_host_its_program_does_the_work(run, gateway_program):
    gateway_program()

    answer = json.loads(run("gc", "--dry-run", "--json").stdout)

    assert answer["arguments"] == ["gc", "--dry-run", "--json"]


def test_elsewhere_the_gateway_is_asked(run, gateway):
    gateway.answer({"list": [OLD, NEW]}, {"status": ["a" * 64]})

    result = run("gc", "--yes")

    assert result.code == 0
    assert "old:1" in result.stdout and "new:1" not in result.stdout
    assert result.stdout.endswith("removed: 1 image, 5.0 MB; old records are forgotten\n")
    assert "not looked at: orphans" in result.stderr
    assert [request.line.split()[1] for request in gateway.requests] == [
        "/api/list/mycluster/", "/api/autoexpire/mycluster/",
    ]  # fmt: skip


def test_a_dry_run_asks_for_nothing_to_be_removed(run, gateway):
    gateway.answer({"list": [OLD]})

    result = run("gc", "--dry-run")

    assert result.stdout.endswith("1 expired image, 5.0 MB, would go\n")
    assert len(gateway.requests) == 1


def test_who_says_no_keeps_all(run, gateway):
    gateway.answer({"list": [OLD]})

    assert run("gc", typed=["n\n"]).code == 130
    assert len(gateway.requests) == 1


def test_others_than_administrators_are_refused(run, gateway):
    gateway.answer({"list": []})
    gateway.answer({"error": "only administrators of mycluster may"}, status="403 Forbidden")

    assert run("gc", "--yes").code == 1


@pytest.mark.parametrize("arguments", [("--remote",), ()])
def test_a_host_of_the_gateway_may_ask_it_all_the_same(run, gateway, gateway_program, arguments):
    gateway_program({"done": "here"})
    gateway.answer({"list": []}, {"status": []})

    result = run("gc", "--yes", *arguments)

    assert bool(gateway.requests) == bool(arguments)
    assert ('"done"' in result.stdout) != bool(arguments)
