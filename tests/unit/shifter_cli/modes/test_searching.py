# SPDX-License-Identifier: BSD-3-Clause
"""`shifterimg search`: which images a registry has."""

from __future__ import annotations

import json

import pytest

from tests.unit.shifter_cli.modes.conftest import sent_logins

NAMES = ["ubuntu:24.04", "ubuntu:x:y"]
IMAGE = {"id": "abc123", "status": "READY", "itype": "docker", "tag": NAMES}
HERE = {"list": [IMAGE, IMAGE | {"itype": "custom", "tag": ["x:1"]}]}


def page(*tags, following=None):
    return {"location": "default", "repository": "ubuntu", "tags": tags, "next": following}


def test_tags_are_listed_as_names_to_pull_and_those_here_are_marked(run, gateway):
    gateway.answer(HERE, page("22.04", "24.04"))

    result = run("search", "ubuntu")

    assert result.stdout == "ubuntu:22.04\nubuntu:24.04  here\n"
    assert (result.code, result.stderr) == (0, "")
    assert gateway.requests[1].line == (
        "GET /api/tags/mycluster/docker/ubuntu/?limit=1000 HTTP/1.1"
    )


def test_a_pattern_chooses_tags_from_every_page(run, gateway):
    gateway.answer(HERE, page("20.04", "24.04", following="24.04"), page("24.10", "latest"))

    result = run("search", "ubuntu:24*")

    assert result.stdout == "ubuntu:24.04  here\nubuntu:24.10\n"
    assert "last=24.04" in gateway.requests[2].line


@pytest.mark.parametrize(
    "text", ["docker:reg.example.org:5000/t/tool", "docker:tool:1*", "tool:1*"]
)
def test_a_repository_may_be_named_as_images_are(run, gateway, text):
    gateway.answer(HERE, page("1.0"))

    result = run("search", text)

    name = "reg.example.org:5000/t/tool" if "reg" in text else "tool"
    assert result.stdout == f"{name}:1.0\n"


def test_what_is_left_out_is_told(run, gateway):
    gateway.answer(HERE, page("1", "2", "3"))

    result = run("search", "--limit", "2", "ubuntu")

    assert result.stdout == "ubuntu:1\nubuntu:2\n"
    assert "there are more: --limit 0 lists all" in result.stderr


@pytest.mark.parametrize(("limit", "complete"), [("3", True), ("0", True), ("2", False)])
def test_programs_are_told_whether_the_list_is_complete(run, gateway, limit, complete):
    gateway.answer(HERE, page("1", "24.04", "3"))

    shown = json.loads(run("search", "--json", "--limit", limit, "ubuntu").stdout)

    assert shown["complete"] is complete
    assert shown["tags"][:2] == [{"tag": "1", "here": False}, {"tag": "24.04", "here": True}]


def test_a_registry_that_repeats_itself_is_asked_no_more(run, gateway):
    gateway.answer(HERE, page("1", following="1"), page("1", following="1"))

    assert run("search", "ubuntu", "--limit", "0").code == 0
    assert len(gateway.requests) == 3


def test_a_search_says_what_the_registry_says(run, gateway):
    gateway.answer(HERE)
    gateway.answer({"error": "the registry has no repository 'x'"}, status="404 Not Found")

    result = run("search", "x")

    assert result.code == 1
    assert "cannot list the tags of docker:x: the registry has no repository 'x'" in result.stderr


def test_a_search_takes_the_login_of_the_registry_along(run, gateway, payloads, docker_login):
    docker_login("example.org")
    gateway.answer(HERE, page("1"))

    run("search", "example.org/tool")

    assert sent_logins(payloads[0]) == {}
    assert sent_logins(payloads[1]) == {"example.org": "bob:docker"}
