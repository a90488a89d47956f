# SPDX-License-Identifier: BSD-3-Clause
from __future__ import annotations

import itertools

import pytest

from shifter_imagegw.api import long_answers
from shifter_imagegw.web import live


class Queue:
    """A queue whose changes are told, a second apart, and a clock that passes with it."""

    def __init__(self, texts):
        self.texts = list(texts)
        self.now = 0.0
        self.ends = 1e9
        self.rendered = 0

    def watch(self):
        return live.Watch(
            goes_on=lambda: self.now < self.ends, change=self.change, render=self.render
        )

    def change(self):
        return self.texts.index(self.current)

    def render(self):
        self.rendered += 1
        return self.current

    @property
    def current(self):
        return self.texts[min(int(self.now), len(self.texts) - 1)]

    def pause(self, seconds):
        self.now += seconds
        return True

    def stream(self, pause=None):
        return live.stream(self.watch(), lambda: self.now, pause or self.pause)


def test_each_change_is_sent_once():
    queue = Queue(["a", "a", "b", "b", "b", "c"])

    events = list(itertools.islice(queue.stream(), 4))

    assert events == ["retry: 3000\n\n"] + [f"event: rows\ndata: {text}\n\n" for text in "abc"]
    assert queue.rendered == 3


def test_nothing_is_sent_to_who_may_not_look_any_more():
    queue = Queue(["a", "b", "c", "d"])
    queue.ends = 2

    events = "".join(queue.stream())

    assert "data: b" in events
    assert "data: c" not in events


def test_who_may_not_look_any_more_is_let_go_in_silence_too():
    queue = Queue(["a"])
    queue.ends = 2

    assert "".join(queue.stream()).endswith("data: a\n\n")
    assert queue.now < 60


def test_lines_of_one_event_stay_one_event():
    queue = Queue(["<p>one</p>\n\n\r\n<p>event: two</p>"])

    event = list(itertools.islice(queue.stream(), 2))[1]

    assert event == "event: rows\ndata: <p>one</p>\ndata: <p>event: two</p>\n\n"


def test_something_is_said_in_silence_too():
    queue = Queue(["a"])

    events = list(itertools.islice(queue.stream(), 4))

    assert events[2:] == [": nothing new\n\n"] * 2
    assert 25 < queue.now < 40


def test_no_stream_lasts_for_ever():
    queue = Queue(["a"])

    assert len(list(queue.stream())) < 30
    assert queue.now == pytest.approx(300, abs=2)


def test_a_stream_ends_with_its_process():
    assert len(list(Queue(["a"]).stream(pause=lambda _: False))) == 2


def test_there_is_none_where_a_thread_would_be_missed(gateway, browser):
    browser.log_in()

    answer = browser.get("queue/events")

    assert (answer.status_code, answer.data) == (204, b"")


def test_there_is_one_where_threads_are_there_for_it(gateway, browser):
    gateway.request("POST", "/api/pull/mycluster/docker/app:1/")
    browser.log_in()

    with long_answers.allowed():
        answer = browser.get("queue/events", buffered=False)
        events = itertools.islice(answer.response, 2)
        first, second = (bytes(event).decode() for event in events)
        answer.close()

    assert answer.headers["Content-Type"] == "text/event-stream"
    assert "no-transform" in answer.headers["Cache-Control"]
    assert first == "retry: 3000\n\n"
    assert second.startswith("event: rows\ndata: <section")
    assert "app:" in second


def test_streams_leave_threads_for_files(gateway, browser):
    browser.log_in()

    def watch():
        with long_answers.allowed():
            return browser.get("queue/events", buffered=False)

    watched = [watch() for _ in range(long_answers.THREADS)]
    found = [answer.status_code for answer in watched]
    for answer in watched:
        answer.close()

    assert found == 32 * [200] + 16 * [204]
    last = watch()
    last.close()
    assert last.status_code == 200


@pytest.mark.parametrize(
    ("request_", "is_long"),
    [
        (b"GET /web/cori/queue/events HTTP/1.1\r\n", True),
        (b"GET /shifter/web/cori/queue/events?x HTTP/1.1\r\n", True),
        (b"GET /web/cori/queue/rows HTTP/1.1\r\n", False),
        (b"GET /web/cori/?q=/queue/events HTTP/1.1\r\n", False),
        (b"POST /web/cori/queue/events HTTP/1.1\r\n", False),
        (b"GET / HTTP/1.1\r\nX: /queue/events \r\n", False),
        (b"GET /web/cori/queue/eventsandmore HTTP/1.1\r\n", False),
    ],
)
def test_requests_for_streams_are_known_by_their_first_line(request_, is_long):
    assert long_answers.is_asked_for(request_) is is_long
