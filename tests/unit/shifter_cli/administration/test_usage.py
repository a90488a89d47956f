# SPDX-License-Identifier: BSD-3-Clause
from __future__ import annotations

import json

import pytest

USERS = {
    "list": [
        {"uid": 1, "name": "alice", "images": 2, "bytes": 3_000_000_000, "in_flight": 1,
         "last_pull": 1795167238.5},
        {"uid": 2, "name": None, "images": 9, "bytes": 5, "in_flight": 0, "last_pull": None},
        {"uid": None, "name": None, "images": 1, "bytes": 7, "in_flight": 0, "last_pull": 1.0},
    ]
}  # fmt: skip


def day(number, lookups=0, images=None):
    return {
        "day": f"2026-11-{number:02}", "images": images, "bytes": images and images * 1000,
        "lookups": lookups, "pulls": 0, "failures": 0,
    }  # fmt: skip


STATS = {
    "days": [day(1), day(2, 1), day(3, 100, 4)],
    "top_images": [
        {"image": "docker:a:1", "lookups": 99, "pulls": 2, "failures": 0, "users": 3},
        {"image": "docker:b:1", "lookups": 2, "pulls": 0, "failures": 1, "users": None},
    ],
    "top_users": [{"uid": 7, "name": "bob", "lookups": 50, "pulls": 1, "failures": 0}],
    "totals": {"images": 4, "bytes": 4000, "lookups": 101, "pulls": 2, "failures": 1},
}


def test_users_are_listed_with_the_space_that_they_take(run, gateway):
    gateway.answer(USERS)

    result = run("users")

    assert result.code == 0
    assert result.stdout == (
        "USER     IMAGES    SIZE  JOBS  LAST PULL\n"
        "alice         2  3.0 GB     1  2026-11-20\n"
        "unknown       1     7 B     0  1970-01-01\n"
        "user2         9     5 B     0  -\n"
        "3 users, 12 images, 3.0 GB\n"
    )
    assert gateway.requests[0].line == "GET /api/users/mycluster/ HTTP/1.1"


@pytest.mark.parametrize(("sort", "first"), [("images", "user2"), ("name", "alice")])
def test_users_come_in_the_order_that_is_asked_for(run, gateway, sort, first):
    gateway.answer(USERS)

    lines = run("users", "--sort", sort).stdout.splitlines()

    assert lines[1].split()[0] == first


def test_users_for_programs_are_what_the_gateway_sent(run, gateway):
    gateway.answer(USERS)

    rows = json.loads(run("users", "--json").stdout)

    assert sorted(rows, key=str) == sorted(USERS["list"], key=str)


def test_stats_are_bars_and_names(run, gateway):
    gateway.answer(STATS)

    result = run("stats", "--days", "3")

    assert gateway.requests[0].line == "GET /api/stats/mycluster/?days=3 HTTP/1.1"
    assert result.stdout == (
        "2026-11-01 to 2026-11-03\n"
        "\n"
        "lookups    ▁█ 101\n"
        "pulls         2\n"
        "failures      1\n"
        "images    ··█ 4 now\n"
        "size      ··█ 4.0 kB now\n"
        "\n"
        "LOOKUPS  PULLS  FAILURES  USERS  IMAGE\n"
        "     99      2         0      3  docker:a:1\n"
        "      2      0         1      -  docker:b:1\n"
        "\n"
        "LOOKUPS  PULLS  FAILURES  USER\n"
        "     50      1         0  bob\n"
    )


def test_a_terminal_obeys_no_day_and_no_sum_that_a_gateway_tells(run, gateway):
    days = [day(1, 1) | {"day": "\x1b[2J"}]
    gateway.answer(STATS | {"days": days, "totals": {"lookups": "\x1b]0;x\x07"}})

    shown = run("stats").stdout

    assert "\x1b" not in shown
    assert shown.startswith("\\x1b[2J to ")


def test_a_year_of_stats_fits_80_columns(run, gateway):
    gateway.answer(STATS | {"days": [day(1, number) for number in range(365)]})

    lines = run("stats", "--days", "365").stdout.splitlines()

    assert max(map(len, lines)) <= 80
    assert lines[2].startswith("lookups   ▁")


def test_no_more_names_than_asked_for_are_shown(run, gateway):
    gateway.answer(STATS)

    assert "docker:b:1" not in run("stats", "--top", "1").stdout


def test_stats_without_users_name_none(run, gateway):
    gateway.answer(STATS | {"top_users": None})

    assert "USER\n" not in run("stats").stdout


@pytest.mark.parametrize("command", ["users", "stats"])
def test_a_gateway_that_refuses_is_quoted(run, gateway, command):
    gateway.answer({"error": "only administrators of mycluster may"}, status="403 Forbidden")

    result = run(command)

    assert (result.code, result.stdout) == (1, "")
    assert result.stderr.startswith("shifter-admin: cannot ")
    assert "only administrators of mycluster may" in result.stderr


@pytest.mark.parametrize("command", ["users", "stats"])
@pytest.mark.parametrize("answer", ["[]", "null", "{", '{"list": 3}'])
def test_an_answer_that_is_none_is_told_in_words_or_shown_as_nothing(run, gateway, command, answer):
    gateway.answer(answer)

    result = run(command)

    assert "Traceback" not in result.stderr
    assert result.code == 1 or command == "stats"


def test_a_gateway_that_is_too_old_is_said_to_be(run, gateway):
    gateway.answer({"error": "there is no route '/api/users/mycluster/'"}, status="404 Not Found")

    assert "is too old for that" in run("users").stderr
