# SPDX-License-Identifier: BSD-3-Clause
"""rm, acl, queue and cancel."""

from __future__ import annotations

import io
import json
import os
import time
import types

import pytest

IMAGE = {
    "id": "ab" * 32, "status": "READY", "itype": "docker", "tag": ["x:1"], "size": 1_500_000,
    "userACL": [], "groupACL": [], "puller": 1001, "private": False,
}  # fmt: skip
LISTED = IMAGE | {"userACL": [1001, 1002], "groupACL": [50]}
GONE = {"status": True}
TOO_OLD = {"status": 404, "error": "Requested URL /api/x not found"}


@pytest.fixture
def run(run, monkeypatch):
    """The same, on a machine where 1001 is alice, 1002 is bob and 50 is lab."""
    users, groups = {1001: "alice", 1002: "bob"}, {50: "lab"}
    monkeypatch.setattr(
        "pwd.getpwuid",
        lambda uid: types.SimpleNamespace(pw_name=users.get(uid, f"u{uid}"), pw_dir="/nowhere"),
    )
    monkeypatch.setattr("grp.getgrgid", lambda gid: types.SimpleNamespace(gr_name=groups[gid]))
    return run


@pytest.fixture
def terminal(monkeypatch):
    """`terminal("y\\n")`: there is one, and this is typed there."""

    def become(typed):
        stdin = io.StringIO(typed)
        stdin.isatty = lambda: True
        monkeypatch.setattr("sys.stdin", stdin)
        monkeypatch.setattr("sys.stderr.isatty", lambda: True)

    return become


def lines_of(gateway):
    return [request.line.rpartition(" ")[0] for request in gateway.requests]


def bodies_of(gateway):
    return [json.loads(request.body) for request in gateway.requests if request.body]


# rm


def test_image_is_removed_without_a_question_where_nobody_can_be_asked(run, gateway):
    gateway.answer(IMAGE, GONE)

    result = run("rm", "x:1")

    assert (result.code, result.stdout) == (0, "removed docker:x:1\n")
    assert lines_of(gateway) == [
        "GET /api/inspect/mycluster/docker/x%3A1/",
        "GET /api/expire/mycluster/docker/x%3A1/",
    ]


@pytest.mark.parametrize(("typed", "is_removed"), [("y\n", True), ("n\n", False), ("\n", False)])
def test_terminal_is_asked_and_told_which_names_go_with_it(
    typed, is_removed, run, gateway, terminal
):
    terminal(typed)
    gateway.answer(IMAGE | {"tag": ["x:latest", "x:1"]}, GONE)

    result = run("rm", "x")

    assert "Remove docker:x (1.5 MB), which is x:1 too? [y/N]" in result.stderr
    assert (len(gateway.requests) == 2) == is_removed
    assert result.stdout == ("removed docker:x, which is x:1 too\n" if is_removed else "")
    assert result.code == 0


def test_who_may_not_remove_an_image_is_told_so_rather_than_asked(run, gateway, terminal):
    terminal("")
    gateway.answer(IMAGE | {"may_change": False})
    gateway.answer({"error": "only who pulled it may"}, status="403 Forbidden")

    result = run("rm", "x:1")

    assert (result.code, result.stdout) == (1, "")
    assert result.stderr.startswith("shifterimg: cannot remove docker:x:1: only who pulled it may")


@pytest.mark.parametrize("option", ["-y", "--yes", "-f", "--force"])
def test_who_is_sure_is_not_asked(option, run, gateway, terminal):
    terminal("")
    gateway.answer(IMAGE, GONE)

    result = run("rm", option, "x:1")

    assert (result.code, result.stderr) == (0, "")


def test_other_images_are_removed_beside_one_that_cannot_be(run, gateway):
    gateway.answer({"error": "image not found"}, status="404 Not Found")
    gateway.answer(IMAGE, GONE)

    result = run("rm", "no:1", "x:1")

    assert result.code == 1
    assert result.stdout == "removed docker:x:1\n"
    assert result.stderr == (
        "shifterimg: cannot remove docker:no:1: it is not on mycluster, or is not for you\n"
    )


def test_name_that_went_with_another_is_not_missed(run, gateway):
    gateway.answer(IMAGE | {"tag": ["x:1", "x:latest"]}, GONE)

    result = run("rm", "x:1", "x")

    assert (result.code, result.stdout) == (0, "removed docker:x:1, which is x:latest too\n")


def test_refusal_to_remove_is_the_gateways(run, gateway):
    gateway.answer(IMAGE)
    gateway.answer({"error": "only who pulled it may"}, status="403 Forbidden")

    result = run("rm", "x:1")

    assert (result.code, result.stdout) == (1, "")
    assert "only who pulled it may" in result.stderr


def test_gateway_of_the_original_can_remove_too(run, gateway):
    gateway.answer(TOO_OLD, status="404 Not Found")
    gateway.answer(IMAGE | {"tag": ["x:1", "y:1"]}, GONE)

    result = run("rm", "x:1")

    assert (result.code, result.stdout) == (0, "removed docker:x:1, which is y:1 too\n")
    assert lines_of(gateway)[1] == "GET /api/lookup/mycluster/docker/x%3A1/"


# acl


@pytest.mark.parametrize(
    ("image", "lines"),
    [
        (IMAGE, ["everybody"]),
        (LISTED, ["user alice (owner)", "user bob", "group lab"]),
        (IMAGE | {"private": True}, ["user alice (owner)"]),
        (LISTED | {"puller": None}, ["user alice", "user bob", "group lab"]),
    ],
)
def test_acl_shows_who_may_use_an_image(image, lines, run, gateway):
    gateway.answer(image)

    assert run("acl", "x:1").stdout.splitlines() == lines


def test_acl_as_json_has_numbers(run, gateway):
    gateway.answer(LISTED)

    assert json.loads(run("acl", "--json", "x:1").stdout) == {
        "public": False, "users": [1001, 1002], "groups": [50], "owner": 1001,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("options", "uids", "gids", "public"),
    [
        (["--add-user", "1003,7"], "1001,1002,1003,7", "50", False),
        (["--add-group=60", "--remove-user=1002"], "1001", "50,60", False),
        (["--remove-user", "1001,1002", "--remove-group", "50"], "", "", False),
        (["--set-user", "1003"], "1003", "", False),
        (["--set-user", "1003", "--set-group", "60", "--add-user", "7"], "1003,7", "60", False),
        (["--private"], "", "", False),
        (["--private", "--add-group", "60"], "", "60", False),
        (["--public"], "", "", True),
    ],
)
def test_acl_sends_the_lists_as_they_are_to_be(options, uids, gids, public, run, gateway):
    gateway.answer(LISTED, LISTED)

    result = run("acl", "x:1", *options)

    assert (result.code, result.stderr) == (0, "")
    assert lines_of(gateway)[1] == "POST /api/acl/mycluster/docker/x%3A1/"
    assert bodies_of(gateway) == [{"allowed_uids": uids, "allowed_gids": gids, "public": public}]


def test_acl_is_asked_for_until_the_nodes_know(run, gateway):
    gateway.answer(LISTED, LISTED | {"status": "PENDING"}, LISTED | {"status": "TRANSFER"}, IMAGE)

    result = run("acl", "--public", "x:1")

    assert result.stdout == "everybody\n"
    assert len(bodies_of(gateway)) == 3


def test_waiting_for_the_nodes_is_shown_on_a_terminal_and_taken_away(run, gateway, monkeypatch):
    monkeypatch.setattr("sys.stderr.isatty", lambda: True)
    gateway.answer(LISTED, LISTED | {"status": "TRANSFER", "status_message": "Writing"}, IMAGE)

    seen = run("acl", "--public", "x:1").stderr

    assert "docker:x:1  TRANSFER    Writing" in seen
    assert seen.endswith("\r\x1b[J")


def test_acl_that_could_not_be_changed_is_an_error(run, gateway):
    gateway.answer(LISTED, {"status": "FAILURE", "status_message": "no space on /images"})

    result = run("acl", "--public", "x:1")

    assert (result.code, result.stdout) == (1, "")
    assert "docker:x:1: no space on /images" in result.stderr


@pytest.mark.parametrize("option", ["--add-user", "--remove-user", "--add-group"])
def test_image_of_everybody_is_not_taken_from_them_unawares(option, run, gateway):
    gateway.answer(IMAGE)

    result = run("acl", "x:1", option, "7")

    assert (result.code, len(gateway.requests)) == (1, 1)
    assert "everybody may use docker:x:1: with --private, only its owner" in result.stderr


def test_public_goes_with_no_list(run, gateway):
    gateway.answer(IMAGE)

    assert "--public goes with no other list" in run("acl", "x:1", "--public", "--private").stderr


# queue


def jobs():
    now = time.time()
    return [
        {"status": "PULLING", "image": "lib/slow:1", "kind": "pull", "puller": 1001,
         "puller_name": "alice", "since": now - 30, "bytes_done": 5_000_000,
         "bytes_total": 20_000_000, "is_mine": True},
        {"status": "FAILURE", "image": "x:1", "kind": "import", "puller": 1002, "puller_name": None,
         "since": now - 3600 * 3, "status_message": "no such file", "is_mine": False},
    ]  # fmt: skip


def test_queue_says_for_whom_how_far_how_long_and_why(run, gateway):
    gateway.answer({"list": jobs()})

    lines = run("queue").stdout.splitlines()

    assert [line.split() for line in lines] == [
        ["PULLING", "lib/slow:1", "alice", lines[0].split()[3], "s",
         "5.0", "MB", "of", "20.0", "MB", "25", "%"],
        ["FAILURE", "x:1", "bob", "import", "3", "h", "no", "such", "file"],
    ]  # fmt: skip
    assert lines[0].startswith("PULLING      lib/slow:1  alice")
    assert all(len(line) <= 80 for line in lines)


@pytest.mark.parametrize("columns", [80, 40])
def test_queue_on_a_terminal_has_reasons_below_and_wraps_none(columns, run, gateway, monkeypatch):
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    monkeypatch.setenv("COLUMNS", str(columns))
    reason = "there is no registry.example/lib/x:1 (HTTP 404, MANIFEST_UNKNOWN): check the name"
    gateway.answer({"list": [jobs()[0], jobs()[1] | {"status_message": reason}]})

    lines = run("queue").stdout.splitlines()

    assert max(map(len, lines)) <= columns
    assert [line.split()[0] for line in lines if line[0] != " "] == ["PULLING", "FAILURE"]
    assert " ".join(" ".join(lines).split()).endswith(reason)


def test_queue_of_mine_is_what_the_gateway_says_is_mine(run, gateway):
    old = [{"status": "PENDING", "image": "old:1", "puller": os.getuid()}]
    gateway.answer({"list": jobs() + old})

    lines = run("queue", "--mine").stdout.splitlines()

    assert [line.split()[1] for line in lines] == ["lib/slow:1", "old:1"]


def test_queue_as_json_is_as_it_came(run, gateway):
    sent = jobs()
    gateway.answer({"list": sent})

    assert json.loads(run("queue", "--json").stdout) == sent


def test_empty_queue_is_no_output(run, gateway):
    gateway.answer({"list": []})

    assert run("queue").stdout == ""


def test_a_person_is_told_of_an_empty_queue(run, gateway, monkeypatch):
    gateway.answer({"list": []})
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)

    result = run("queue")

    assert result.stdout == ""
    assert result.stderr == "shifterimg: nothing is being pulled, imported or removed\n"


def test_watching_the_queue_needs_a_terminal(run, gateway):
    result = run("queue", "--watch")

    assert (result.code, gateway.requests) == (1, [])
    assert "--watch needs a terminal" in result.stderr


def test_watched_queue_is_drawn_until_it_is_left(run, gateway, monkeypatch):
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    monkeypatch.setenv("COLUMNS", "30")
    pauses = iter([None, None])

    def sleep(_):
        try:
            next(pauses)
        except StopIteration:
            raise KeyboardInterrupt from None

    monkeypatch.setattr("time.sleep", sleep)
    gateway.answer({"list": jobs()}, {"list": jobs()[:1]})

    result = run("queue", "--watch")

    assert (result.code, result.stderr) == (0, "")
    assert len(gateway.requests) == 3
    assert "2 in the queue" in result.stdout
    assert "1 in the queue" in result.stdout
    assert "\n    no such file\x1b[J" in result.stdout


# cancel


def test_cancel_ends_each_and_tells_those_that_it_could_not(run, gateway):
    gateway.answer({"status": "FAILURE", "status_message": "cancelled by alice"})
    gateway.answer({"error": "nothing waits or runs"}, status="404 Not Found")

    result = run("cancel", "x:1", "y:1")

    assert result.code == 1
    assert result.stdout == "cancelled docker:x:1\n"
    assert result.stderr == "shifterimg: cannot cancel docker:y:1: nothing waits or runs\n"
    assert lines_of(gateway)[0] == "POST /api/cancel/mycluster/docker/x%3A1/"


@pytest.mark.parametrize("arguments", [("inspect", "x"), ("acl", "x"), ("cancel", "x")])
def test_gateway_that_is_too_old_is_said_to_be(arguments, run, gateway):
    gateway.answer(TOO_OLD, status="404 Not Found")

    result = run(*arguments)

    assert (result.code, result.stdout) == (1, "")
    assert f"the image gateway {gateway.url} is too old for that" in result.stderr


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("acl", "x:1"), "cannot tell who may use docker:x:1: image not found"),
        (("rm", "x:1"), "cannot remove docker:x:1: it is not on mycluster"),
        (("inspect", "x:1"), "cannot inspect docker:x:1: image not found"),
    ],
)
def test_what_fails_is_what_was_asked_for(arguments, said, run, gateway):
    gateway.answer({"error": "image not found"}, status="404 Not Found")

    assert run(*arguments).stderr.startswith(f"shifterimg: {said}")
