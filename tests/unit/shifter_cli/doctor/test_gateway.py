# SPDX-License-Identifier: BSD-3-Clause
"""What the doctor says of the gateway's answer."""

from __future__ import annotations

import os

import pytest

from shifter_cli.doctor import gateway
from shifter_cli.doctor.findings import Level
from shifter_cli.errors import (
    GatewayRefusalError,
    GatewayTooOldError,
    GatewayUnreachableError,
    ImageNotFoundError,
)
from shifter_cli.gateway.records import ImageRecord
from shifter_common.reference import ImageReference
from shifter_runtime import config as configs

ME = os.getuid()
MY_GROUP = os.getgid()
NAMED = ImageReference("docker", "x:1")


def record(**fields):
    return ImageRecord.from_wire(
        {"id": "a" * 64, "status": "READY", "itype": "docker", "tag": ["x:1"], **fields}
    )


class Session:
    """A gateway that answers with one record, or fails."""

    def __init__(self, answer, lookup="gateway index"):
        self._answer = answer
        text = (
            "udiMount=/udi\nloopMount=/l\nimagePath=/i\nudiRootPath=/o\npopulateEtcDynamically=1\n"
        )
        self.config = configs.parse(f"{text}imageLookup={lookup}\n", "x")
        self.gateway = self

    def lookup(self, reference):
        if isinstance(self._answer, Exception):
            raise self._answer
        return self._answer

    def inspect(self, reference, failing):
        raise GatewayTooOldError("old", 404)

    def upstream_id(self, reference):
        if isinstance(self.upstream, Exception):
            raise self.upstream
        return self.upstream

    def images(self):
        return [self.lookup(None)]


@pytest.mark.parametrize(
    ("lists", "words"),
    [
        ({}, "everybody may use it"),
        ({"userACL": [ME, ME + 1]}, "a list of users, and you are in it"),
        ({"userACL": [ME + 1], "groupACL": [MY_GROUP]}, "your group "),
    ],
)
def test_the_list_that_lets_one_in_is_named(lists, words):
    (finding,) = gateway.access(record(**lists))

    assert finding.level is Level.OK
    assert words in finding.text


def test_nobody_s_list_is_a_problem_and_says_whom_to_ask():
    shown = record(userACL=[ME + 1], groupACL=[MY_GROUP + 1000], puller=2**31)

    (finding,) = gateway.access(shown)

    assert finding.level is Level.PROBLEM
    assert finding.advice.startswith(f"ask user {2**31} to put you in")


def test_an_image_is_described_by_id_size_and_architecture():
    found, findings = gateway.ask(Session(record(size=29_700_000, arch="amd64")), NAMED)

    assert found is not None
    assert findings[-1].text == "docker:x:1 is aaaaaaaaaaaa… (29.7 MB, amd64)"


def test_an_image_by_id_is_called_by_its_names():
    _, findings = gateway.ask(Session(record()), ImageReference("id", "a" * 64))

    assert findings[-1].text == "x:1"


def test_an_id_that_the_gateway_does_not_show_is_told():
    found, (finding,) = gateway.ask(Session(record()), ImageReference("id", "b" * 64))

    assert (found, finding.level) == (None, Level.NOTE)


def test_an_image_that_is_not_there_is_a_problem_with_what_to_do():
    error = ImageNotFoundError("cannot find docker:x:1: image not found (shifterimg pull x:1)", 404)

    _, (finding,) = gateway.ask(Session(error), NAMED)

    assert (finding.level, finding.advice) == (Level.PROBLEM, "shifterimg pull x:1")


@pytest.mark.parametrize(("lookup", "level"), [("gateway index", "note"), ("gateway", "problem")])
def test_a_silent_gateway_matters_where_there_is_no_index(lookup, level):
    _, (finding,) = gateway.ask(Session(GatewayUnreachableError("nobody is there"), lookup), NAMED)

    assert (finding.level.value, finding.text) == (level, "nobody is there")


def test_a_gateway_that_refuses_is_a_problem():
    _, (finding,) = gateway.ask(Session(GatewayRefusalError("who are you", 401)), NAMED)

    assert (finding.level, finding.text) == (Level.PROBLEM, "who are you")


def test_no_gateway_is_asked_for_a_directory():
    _, (finding,) = gateway.ask(Session(AssertionError()), ImageReference("local", "/tree"))

    assert finding.level is Level.OK


@pytest.mark.parametrize(
    ("upstream", "levels"),
    [
        ("a" * 64, ["ok"]),
        ("b" * 64, ["note"]),
        (GatewayTooOldError("old", 404), []),
        (GatewayRefusalError("the registry is away", 502), ["note"]),
    ],
)
def test_a_tag_that_means_something_else_by_now_is_told(upstream, levels):
    session = Session(record())
    session.upstream = upstream

    found = list(gateway.newer(session, record(), NAMED))

    assert [finding.level.value for finding in found] == levels
    assert "b" not in str(upstream)[:1] or "shifterimg pull docker:x:1" in found[0].advice


@pytest.mark.parametrize(
    "reference",
    [ImageReference("custom", "x:1"), ImageReference("docker", f"x@sha256:{'a' * 64}")],
)
def test_no_registry_is_asked_for_what_cannot_change(reference):
    session = Session(record())
    session.upstream = AssertionError()

    assert list(gateway.newer(session, record(), reference)) == []
