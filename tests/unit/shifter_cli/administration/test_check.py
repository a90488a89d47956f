# SPDX-License-Identifier: BSD-3-Clause
"""What `check` makes of what was found; what is found on a real host is tested in integration."""

from __future__ import annotations

import json
import os

import pytest

from shifter_cli.administration import checking
from shifter_cli.checks import ok, skipped, warning, wrong

LONG = "it is like this, and that is a long story, " * 4


@pytest.fixture
def check(run, monkeypatch):
    """Run `check`, which finds these matters."""

    def check(*arguments, found):
        groups = [("One", iter(found[:1])), ("Two", iter(found[1:]))]
        monkeypatch.setattr(checking, "_groups", lambda *_, **__: iter(groups))
        return run("check", *arguments)

    return check


@pytest.mark.parametrize(
    ("found", "code", "verdict"),
    [
        ([ok("a", "good")], 0, "all is well (1 ok)"),
        (
            [ok("a", "good"), skipped("b", "only root")],
            0,
            "all that was looked at is well (1 ok, 1 skipped)",
        ),
        ([skipped("b", "only root")], 0, "nothing was looked at (1 skipped)"),
        ([warning("a", "odd"), ok("b", "good")], 2, "works, with warnings (1 ok, 1 warning)"),
        ([warning("a", "odd"), wrong("b", "bad")], 1, "something is wrong (1 warning, 1 wrong)"),
    ],
)
def test_the_worst_decides(check, found, code, verdict):
    result = check(found=found)

    assert result.code == code
    assert result.stdout.splitlines()[-1] == verdict


def test_each_matter_is_a_line_under_its_group_in_80_columns(check):
    lines = check(found=[ok("loop", LONG), wrong("munge", LONG)]).stdout.splitlines()

    assert max(map(len, lines)) <= 80
    assert lines[0] == "One"
    assert lines[1].startswith("  ok      loop: it is like")
    assert lines[2].startswith(" " * 10)
    assert any(line.startswith("  wrong   munge: it") for line in lines)


def test_quiet_leaves_out_what_is_well(check):
    assert check("--quiet", found=[ok("a", "good"), skipped("b", "x")]).stdout == ""
    assert "good" not in check("--quiet", found=[ok("a", "good"), wrong("b", "bad")]).stdout


def test_programs_get_json(check):
    result = check("--json", found=[ok("a", "good"), wrong("b", "bad")])

    shown = json.loads(result.stdout)
    assert result.code == 1
    assert shown["matters"][1] == {"group": "Two", "name": "b", "state": "wrong", "text": "bad"}
    assert shown["counts"] == {"ok": 1, "warning": 0, "wrong": 1, "skipped": 0}


def test_what_a_gateway_s_program_finds_is_shown_as_its_own(run, gateway_program):
    gateway_program(
        {"matters": [{"group": "disks", "name": "x", "state": "warning", "text": "is full"}]}
    )

    result = run("check", "--gateway")

    assert result.code == 2
    assert "Gateway of this host: disks\n  warning x: is full\n" in result.stdout


def test_a_file_that_others_may_not_read_is_no_fault_of_the_host(run, gateway_program, monkeypatch):
    gateway_program({"matters": []})
    access = os.access
    monkeypatch.setattr(
        os, "access", lambda path, mode: not path.endswith(".json") and access(path, mode)
    )

    result = run("check", "--gateway")

    assert result.code == 0
    assert "only root and the gateway's account can read" in " ".join(result.stdout.split())


@pytest.mark.parametrize("answer", [{}, [], {"matters": None}, 3])
def test_a_program_of_another_release_is_said_to_be_one(run, gateway_program, answer):
    gateway_program(answer)

    result = run("check", "--gateway")

    assert result.code == 1
    assert "is of another release" in " ".join(result.stdout.split())


def test_a_host_that_is_no_gateway_s_is_well_without(run, monkeypatch):
    monkeypatch.setattr(checking, "_node_groups", lambda _: iter([("N", iter([ok("a", "x")]))]))

    result = run("check")

    assert result.code == 0
    assert "skipped there is no" in result.stdout


def test_a_gateway_that_is_asked_for_and_is_not_there_is_wrong(run):
    assert run("check", "--gateway").code == 1


def test_a_file_that_cannot_be_used_leaves_the_rest_unseen(run, tmp_path):
    bad = tmp_path / "bad.conf"
    bad.write_text("udiMount = here\n")

    result = run("check", "--node", "--file", str(bad))

    assert result.code == 1
    assert "line 1: udiMount must be an absolute path" in result.stdout
    assert "what it names was not looked at" in " ".join(result.stdout.split())
