# SPDX-License-Identifier: BSD-3-Clause
from __future__ import annotations

import email.utils
import json
import time

import pytest

from shifter_cli.checks import gateways
from shifter_common import munge
from shifter_common.errors import MungeError
from shifter_runtime import config as configs

TEXT = """\
udiMount = /var/udiMount
loopMount = /var/loopMount
imagePath = /images
udiRootPath = /usr
populateEtcDynamically = 1
system = mycluster
imageGateway = {urls}
"""
READY = {"status": "ready", "late": {}}


@pytest.fixture
def look(gateway, payloads):
    """What is found of the gateway, by state, where it answers these things."""

    def look(*answers, skew=0.0, urls=None):
        for status, content in answers:
            body = json.dumps(content)
            date = email.utils.formatdate(time.time() + skew, usegmt=True)
            gateway.answer_raw(
                f"HTTP/1.1 {status} X\r\nDate: {date}\r\nContent-Length: {len(body)}\r\n\r\n"
                f"{body}".encode()
            )
        config = configs.parse(TEXT.format(urls=urls or gateway.url), "x")
        return [(matter.state.value, matter.text) for matter in gateways.gateways(config)]

    return look


def worst(matters):
    return [text for state, text in matters if state == "wrong"]


def test_a_gateway_that_is_ready_and_knows_us_is_well(look, gateway):
    matters = look((200, READY), (200, {"list": []}))

    assert [state for state, _ in matters] == ["ok", "ok", "ok"]
    assert [request.line for request in gateway.requests] == [
        "GET /readyz HTTP/1.1", "GET /api/queue/mycluster/ HTTP/1.1",
    ]  # fmt: skip
    assert "authentication" not in gateway.requests[0].headers


def test_what_is_missing_there_is_said_part_by_part(look):
    answer = {"status": "not ready", "missing": {"catalog": "MongoDB is away", "broker": "no"}}

    matters = look((503, answer), (200, {"list": []}))

    assert worst(matters) == ["catalog: MongoDB is away", "broker: no"]


def test_jobs_that_wait_for_workers_are_a_warning(look):
    matters = look((200, READY | {"late": {"mycluster": "3 jobs wait"}}), (200, {"list": []}))

    assert ("warning", "mycluster: 3 jobs wait") in matters


@pytest.mark.parametrize(
    ("skew", "state"), [(0, "ok"), (5, "ok"), (-100, "warning"), (3600, "wrong"), (-900, "wrong")]
)
def test_clocks_that_are_apart_are_told_of_before_munge_complains(look, skew, state):
    matters = look((200, READY), (200, {"list": []}), skew=skew)

    (clock,) = [found for found, text in matters if "clock" in text]
    assert clock == state


@pytest.mark.parametrize(
    ("status", "error", "words"),
    [
        (401, "it was made with another key", "need the same munge.key"),
        (404, "does not serve a system 'mycluster'", "must be one of Platforms"),
        (503, "munged does not answer", "munged does not answer (503)"),
    ],
)
def test_a_gateway_that_does_not_take_our_word_is_quoted(look, status, error, words):
    (text,) = worst(look((200, READY), (status, {"error": error})))

    assert error in text and words in text


def test_a_gateway_that_is_away_is_told_with_what_to_look_at(look):
    (text,) = worst(look(urls="http://127.0.0.1:1"))

    assert text.startswith("does not answer: Connection refused: check that the gateway runs")


def test_a_server_that_is_no_gateway_is_said_to_be_none(look):
    assert any("as no image gateway does" in text for text in worst(look((200, [1]))))


def test_a_gateway_of_the_original_is_not_held_to_be_broken(look):
    matters = look((404, {}), (200, {"list": []}))

    assert worst(matters) == []


def test_a_password_in_a_url_is_not_shown(look):
    config = configs.parse(TEXT.format(urls="http://me:secret@127.0.0.1:1"), "x")

    assert not any("secret" in str(matter) for matter in gateways.gateways(config))


def test_munge_makes_and_opens_a_credential(monkeypatch):
    config = configs.parse(TEXT.format(urls="http://x"), "x")
    monkeypatch.setattr(munge, "encode", lambda payload, socket: "MUNGE:x:")
    opened = munge.Credential(uid=gateways.os.getuid(), gid=0, payload=b"")
    monkeypatch.setattr(munge, "decode", lambda credential, socket: opened)

    (matter,) = gateways.munge_daemon(config)

    assert matter.state == "ok"


@pytest.mark.parametrize(
    ("setting", "advice"),
    [("", "start it (systemctl start munge)"), ("mungeSocketPath=/m/s\n", "start munged there")],
)
def test_a_munge_daemon_that_is_away_is_to_be_started(monkeypatch, setting, advice):
    def away(payload, socket):
        raise MungeError("munged does not answer", munge.SOCKET)

    monkeypatch.setattr(munge, "encode", away)
    config = configs.parse(TEXT.format(urls="http://x") + setting, "x")

    (matter,) = gateways.munge_daemon(config)

    assert (matter.state, matter.text.endswith(f": {advice}")) == ("wrong", True)
