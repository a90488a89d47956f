# SPDX-License-Identifier: BSD-3-Clause
"""`shifterimg autoexpire`, `metrics` and `images --mine`."""

from __future__ import annotations

import json
import os

LOOKUP = {
    "user": "alice", "uid": 1001, "system": "mycluster", "type": "docker", "tag": "lib/slow:1",
    "id": "f6acd88526" + "0" * 54, "time": 1795167238.76,
}  # fmt: skip
IMAGE = {
    "id": "ab" * 32, "system": "mycluster", "itype": "custom", "tag": ["mine:1"],
    "status": "READY", "last_pull": 1795167238.5, "size": 1_500_000,
    "expiration": 1802943238.5, "puller": os.getuid(),
}  # fmt: skip


def test_autoexpire_is_refused_to_others_by_a_gateway_of_the_original(run, gateway):
    gateway.answer({"status": False})

    result = run("autoexpire")

    assert result.code == 1
    assert result.stderr == (
        "shifterimg: cannot expire the unused images of mycluster: only its administrators may\n"
    )


def test_autoexpire_says_what_it_removes_verbosely(run, gateway):
    gateway.answer({"status": ["ab"]})

    assert run("-v", "autoexpire").stdout == 'Message: {"status": ["ab"]}\n'


def test_lookups_are_listed(run, gateway):
    gateway.answer([LOOKUP])

    result = run("metrics", "--limit", "2")

    assert gateway.requests[0].line == "GET /api/metrics/mycluster/?limit=2 HTTP/1.1"
    assert result.stdout == "2026-11-20T09:33:58 alice      f6acd88526 docker:lib/slow:1\n"


def test_lookups_as_json_are_as_they_came(run, gateway):
    gateway.answer([LOOKUP])

    assert json.loads(run("metrics", "--json").stdout) == [LOOKUP]


def test_an_answer_that_is_no_list_of_lookups_is_an_error(run, gateway):
    gateway.answer({"list": []})

    assert run("metrics").code == 1


def test_only_own_images_are_listed_on_request(run, gateway):
    gateway.answer({"list": [IMAGE, IMAGE | {"tag": ["other:1"], "puller": os.getuid() + 1}]})

    lines = run("images", "--mine").stdout.splitlines()

    assert [line.split()[-1] for line in lines] == ["mine:1"]
