# SPDX-License-Identifier: BSD-3-Clause
"""The original's client, as recorded at the wire, understands every answer of this gateway.

`reaction` is that client: first it is held to each recording, then it is shown our answers.
"""

from __future__ import annotations

import dataclasses
import datetime
import json
import re
from pathlib import Path

import pytest

from shifter_imagegw.records import PullState

RECORDED = Path(__file__).parents[2] / "golden" / "cli"
NAMES = sorted(path.stem for path in RECORDED.glob("wire_*.txt"))
WAITED_THROUGH = {
    "MISSING", "INIT", "PENDING", "PULLING", "EXAMINATION", "CONVERSION", "TRANSFER",
}  # fmt: skip

PULL = "/api/pull/mycluster/docker/lib%2Fx%3A1/"
LOOKUP = "/api/lookup/mycluster/docker/lib%2Fx%3A1/"
LIST = "/api/list/mycluster/"


@dataclasses.dataclass(frozen=True)
class Answer:
    """What came over the wire; header names are in lower case."""

    status: int
    headers: dict[str, str]
    body: str

    @classmethod
    def of(cls, response):
        headers = {name.lower(): value for name, value in response.headers}
        return cls(response.status_code, headers, response.text)


@dataclasses.dataclass(frozen=True)
class Recording:
    mode: str
    requests: list[str]
    answer: Answer
    exit_code: int
    printed: str  # without what -v adds


def recorded(name):
    text = (RECORDED / f"{name}.txt").read_text()
    sent, _, rest = text.partition("== answer ==\n")
    answer, _, result = rest.partition("\n== result ==\n")
    head, _, body = answer.partition("\n\n")
    status, *headers = head.splitlines()
    return Recording(
        mode=re.search(r"\b(lookup|images|pull|expire|autoexpire)\b", sent.splitlines()[1])[1],
        requests=re.findall(r"^(?:GET|POST) .*? HTTP/1.1$", sent, re.MULTILINE),
        answer=Answer(
            status=int(status.split()[1]),
            headers={
                key.lower(): value for key, value in (line.split(": ", 1) for line in headers)
            },
            body=body,
        ),
        exit_code=int(re.search(r"exit code: (\d+)", result)[1]),
        printed="".join(
            f"{line}\n"
            for line in result.partition("---\n")[2].partition("--- stderr")[0].splitlines()
            if line and not line.startswith(("Got response", "Message: "))
        ),
    )


def reaction(mode, answer):
    """What the original's client does with an answer: its exit code, and what it prints."""
    if answer.status != 200:
        return 1, ""
    fields = understood(answer)
    if mode == "lookup":
        return 0, f"{fields['id']}\n" if "id" in fields else ""
    if mode == "pull":
        return 0, fields.get("status", "MISSING")
    if mode == "images":
        rows = sorted(
            (tag, row(record, tag))
            for record in fields.get("list", fields.get("data", []))
            for tag in tags_of(record)
        )
        return (0 if rows else 1), "".join(line for _, line in rows)
    return 0, ""


def understood(answer):
    """The JSON of an answer, nothing at all unless type and length are just so."""
    if answer.headers.get("content-type") != "application/json":
        return {}
    if answer.headers.get("content-length") is None:
        return {}
    try:
        return json.loads(answer.body)
    except ValueError:
        return {}


def tags_of(record):
    tags = record.get("tag", [])
    return [tags] if isinstance(tags, str) else tags


def row(record, tag):
    seconds = record.get("last_pull")
    seconds = seconds if isinstance(seconds, float) else 0.0
    when = datetime.datetime.fromtimestamp(int(seconds), datetime.UTC).strftime("%FT%T")
    return "{:10} {:10} {:8} {:8.8} {} {:30}\n".format(
        record["system"], record["itype"], record["status"], record["id"], when, tag
    )


@pytest.fixture
def ready(gateway):
    gateway.request("POST", PULL)
    gateway.work()
    return gateway


def test_the_recordings_are_here():
    assert len(NAMES) == 20


@pytest.mark.parametrize("name", NAMES)
def test_the_client_is_the_recorded_one(name):
    recording = recorded(name)

    exit_code, printed = reaction(recording.mode, recording.answer)

    assert exit_code == recording.exit_code
    if recording.mode == "pull":
        assert f"status: {printed}" in recording.printed
        assert (len(recording.requests) == 2) == (printed not in WAITED_THROUGH)
    else:
        assert printed == recording.printed


@pytest.mark.parametrize("name", [name for name in NAMES if recorded(name).requests])
def test_every_recorded_request_is_understood(gateway, name):
    for line in recorded(name).requests:
        method, target, _ = line.split()

        answer = gateway.request(method, target, by="root:0:0")

        assert answer.status_code in (200, 404), answer.text
        if answer.status_code == 404:
            assert answer.json["error"].startswith("image not found")


def test_a_lookup_prints_the_id(ready):
    answer = Answer.of(ready.request("GET", LOOKUP))

    assert reaction("lookup", answer) == (0, "a" * 64 + "\n")


@pytest.mark.parametrize("path", [LOOKUP.replace("%3A1", "%3A2"), LOOKUP.replace("docker", "x")])
def test_a_lookup_that_finds_nothing_fails(ready, path):
    assert reaction("lookup", Answer.of(ready.request("GET", path))) == (1, "")


def test_the_list_has_a_line_for_each_tag_and_none_for_an_image_without(ready):
    ready.request("POST", PULL.replace("%3A1", "%3A2"))
    ready.work()  # the same image
    ready.request("POST", PULL.replace("x%3A1", "other"))
    ready.work("b")
    ready.clock.advance(1000)
    ready.request("POST", PULL.replace("x%3A1", "other"))
    ready.work("c")  # takes the tag away from "b"

    answer = Answer.of(ready.request("GET", LIST))

    exit_code, printed = reaction("images", answer)
    assert exit_code == 0
    assert [(line.split()[3], line.split()[5]) for line in printed.splitlines()] == [
        ("cccccccc", "lib/other:latest"),
        ("aaaaaaaa", "lib/x:1"),
        ("aaaaaaaa", "lib/x:2"),
    ]
    assert "1970" not in printed


def test_whole_seconds_are_told_as_a_double(gateway):
    gateway.request("POST", PULL)
    gateway.clock.now = 1_600_000_000.0
    gateway.work()

    _, printed = reaction("images", Answer.of(gateway.request("GET", LIST)))

    assert "2020-09-13T12:26:40" in printed


@pytest.mark.parametrize("state", [state for state in PullState if state in WAITED_THROUGH])
def test_the_client_waits_while_a_pull_runs(gateway, state):
    gateway.request("POST", PULL)
    gateway.catalog.report(gateway.claim(), state, "working")

    _, shown = reaction("pull", Answer.of(gateway.request("POST", PULL)))

    assert shown in WAITED_THROUGH


def test_the_client_waits_from_the_first_answer_to_the_last(gateway):
    first = reaction("pull", Answer.of(gateway.request("POST", PULL)))
    second = reaction("pull", Answer.of(gateway.request("POST", PULL)))
    gateway.work()
    last = reaction("pull", Answer.of(gateway.request("POST", PULL)))

    assert (first, second, last) == ((0, "INIT"), (0, "PENDING"), (0, "READY"))


def test_the_client_stops_waiting_when_a_pull_has_failed(gateway):
    gateway.request("POST", PULL)
    gateway.work_badly("no such image")

    assert reaction("pull", Answer.of(gateway.request("POST", PULL))) == (0, "FAILURE")


@pytest.mark.parametrize("source", ["doimport", "pull"])
def test_the_client_waits_for_an_import_too(gateway_with, source):
    gateway = gateway_with(ImportUsers="all")
    body = '{"filepath": "/home/a.sqsh", "format": "squashfs"}'
    path = f"/api/{source}/mycluster/custom/mine%3A1/"
    gateway.request("POST", "/api/doimport/mycluster/custom/mine%3A1/", data=body)
    gateway.catalog.report(gateway.claim(), PullState.HASHING, "HASHING")

    hashing = reaction("pull", Answer.of(gateway.request("POST", path, data=body)))
    gateway.clock.advance(60)  # the lease is over
    gateway.work()
    ready = reaction("pull", Answer.of(gateway.request("POST", path, data=body)))

    assert (hashing, ready) == ((0, "PULLING"), (0, "READY"))


def test_lists_of_numbers_in_text_are_kept(gateway):
    body = '{"allowed_uids":"1001,5","allowed_gids":"1002,7"}'  # as in wire_pull_acl
    assert body in (RECORDED / "wire_pull_acl.txt").read_text()

    gateway.request("POST", PULL, data=body)

    record = gateway.claim().record
    assert (set(record.user_acl), record.group_acl) == ({1001, 5}, (1002, 7))


@pytest.mark.parametrize(("mode", "by", "exit_code"), [
    ("expire", "root:0:0", 0), ("expire", "bob:1002:1002", 1),
    ("autoexpire", "root:0:0", 0), ("autoexpire", "bob:1002:1002", 1),
])  # fmt: skip
def test_expiring_ends_well_for_who_may(ready, mode, by, exit_code):
    path = LOOKUP.replace("lookup", mode) if mode == "expire" else f"/api/{mode}/mycluster/"

    answer = Answer.of(ready.request("GET", path, by=by))

    assert reaction(mode, answer) == (exit_code, "")
