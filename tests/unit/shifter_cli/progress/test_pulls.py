# SPDX-License-Identifier: BSD-3-Clause
"""Waiting for images, with a clock that only moves when somebody sleeps."""

from __future__ import annotations

import pytest

from shifter_cli.errors import GatewayRefusalError, GatewayUnreachableError
from shifter_cli.gateway.records import ImageRecord
from shifter_cli.progress import pulls
from shifter_common.reference import ImageReference

ONE = ImageReference("docker", "one:1")
TWO = ImageReference("docker", "two:1")


class Clock:
    def __init__(self):
        self.now = 1000.0
        self.pauses = []

    def sleep(self, seconds):
        self.pauses.append(seconds)
        self.now += seconds


def record(state, message="MISSING"):
    return ImageRecord.from_wire({"status": state, "status_message": message})


def follow(answers, references=(ONE,)):
    """Each reference's answers in turn, the last for ever; exceptions are raised."""
    clock = Clock()
    asked = []

    def ask(reference):
        asked.append(reference)
        prepared = answers[reference]
        answer = prepared.pop(0) if len(prepared) > 1 else prepared[0]
        if isinstance(answer, Exception):
            raise answer
        return answer

    events = list(pulls.follow(ask, references, sleep=clock.sleep, clock=lambda: clock.now))
    return events, asked, clock


def test_image_that_is_ready_is_asked_for_once():
    events, asked, clock = follow({ONE: [record("READY")]})

    assert [result.state for _, result in events] == ["READY"]
    assert (asked, clock.pauses) == ([ONE], [])


@pytest.mark.parametrize(
    "state",
    ["MISSING", "INIT", "PENDING", "PULLING", "HASHING", "EXAMINATION", "CONVERSION", "TRANSFER"],
)
def test_pull_in_flight_is_waited_for(state):
    events, _, _ = follow({ONE: [record(state), record("READY")]})

    assert [result.state for _, result in events] == [state, "READY"]


@pytest.mark.parametrize("state", ["FAILURE", "EXPIRED", "SOMETHING"])
def test_any_other_state_ends_the_waiting(state):
    events, asked, _ = follow({ONE: [record(state)]})

    assert [result.state for _, result in events] == [state]
    assert asked == [ONE]


def test_pauses_grow_to_half_a_second():
    _, _, clock = follow({ONE: [record("PULLING")] * 90 + [record("READY")]})

    assert clock.pauses[0] == 0.1
    assert clock.pauses == sorted(clock.pauses)
    assert clock.pauses[-1] == 0.5


def test_all_images_are_asked_for_before_any_is_waited_for():
    _, asked, clock = follow(
        {ONE: [record("PULLING"), record("READY")], TWO: [record("READY")]}, (ONE, TWO)
    )

    assert asked == [ONE, TWO, ONE]
    assert len(clock.pauses) == 1


def test_image_typed_twice_is_asked_for_once():
    _, asked, _ = follow({ONE: [record("READY")]}, (ONE, ONE))

    assert asked == [ONE]


def test_error_of_one_image_leaves_the_others():
    error = GatewayRefusalError("no", 400)

    events, _, _ = follow({ONE: [error], TWO: [record("INIT"), record("READY")]}, (ONE, TWO))

    assert events[0] == (ONE, error)
    assert events[-1][1].state == "READY"


def test_gateway_that_is_down_from_the_start_is_not_waited_for():
    error = GatewayUnreachableError("down")

    events, asked, _ = follow({ONE: [error]})

    assert (events, asked) == ([(ONE, error)], [ONE])


@pytest.mark.parametrize(
    "error", [GatewayUnreachableError("down"), GatewayRefusalError("starting", 503)]
)
def test_gateway_that_restarts_is_waited_for(error):
    events, _, _ = follow({ONE: [record("PULLING"), error, error, record("READY")]})

    assert [result.state for _, result in events] == ["PULLING", "READY"]


def test_gateway_that_stays_away_is_given_up_after_a_minute():
    error = GatewayUnreachableError("down")

    events, _, clock = follow({ONE: [record("PULLING"), error]})

    assert events[-1] == (ONE, error)
    assert 60 <= clock.now - 1000.0 < 61


def test_refusal_while_waiting_ends_it():
    error = GatewayRefusalError("not for you", 403)

    events, _, _ = follow({ONE: [record("PULLING"), error]})

    assert events[-1] == (ONE, error)


@pytest.mark.parametrize("state", ["READY", "PULLING"])
def test_good_states_are_no_failure(state):
    assert pulls.failure_of(ONE, record(state)) is None


def test_failure_gives_the_words_of_the_gateway():
    failure = pulls.failure_of(ONE, record("FAILURE", "registry says: no such manifest"))

    assert str(failure) == "docker:one:1: registry says: no such manifest"


@pytest.mark.parametrize("message", ["MISSING", "FAILURE", "FAILED", None])
def test_failure_without_words_is_told_as_one(message):
    failure = pulls.failure_of(ONE, record("FAILURE", message))

    assert str(failure).endswith("the gateway did not say why")


def test_state_that_nobody_knows_is_no_success():
    assert "SOMETHING" in str(pulls.failure_of(ONE, record("SOMETHING")))
