# SPDX-License-Identifier: BSD-3-Clause
from __future__ import annotations

import os
import threading
from types import SimpleNamespace

import pytest
from celery.worker import loops

from shifter_imagegw.workers import celery_consumer


@pytest.fixture
def pipe():
    reading, writing = os.pipe()
    os.set_blocking(reading, False)
    yield reading, writing
    os.close(reading)


def message(descriptor, read):
    """Reads six bytes as they come, as Celery reads what a child says."""
    while len(read) < 6:
        try:
            piece = os.read(descriptor, 6 - len(read))
        except BlockingIOError:
            yield
            continue
        if not piece:
            raise EOFError
        read += piece


@pytest.fixture
def run_loop(monkeypatch):
    """Run a loop that an error ends, with a reader that waits; the order of what happened."""

    def run(descriptor, reader, error=ConnectionError):
        events = []

        def broken_loop(_obj, _connection, _consumer, _blueprint, hub, *_more):
            hub.reset()
            raise ConnectionError

        monkeypatch.setattr(loops, "asynloop", broken_loop)
        hub = SimpleNamespace(
            readers={descriptor: (reader, ()), 99: (events.append, ())},
            reset=lambda: events.append("reset"),
        )
        with pytest.raises(error):
            celery_consumer._loop_that_reads_to_the_end(None, None, None, None, hub, None)
        return events

    return run


def test_a_message_that_is_half_read_is_read_to_the_end(pipe, run_loop):
    reading, writing = pipe
    read = bytearray()
    reader = message(reading, read)
    os.write(writing, b"abc")
    next(reader)

    late = threading.Timer(0.05, os.write, (writing, b"def"))
    late.start()
    events = run_loop(reading, reader)
    late.join()
    os.close(writing)

    assert bytes(read) == b"abcdef"
    assert events == ["reset"]


def test_what_a_dead_child_has_not_written_is_not_waited_for(pipe, run_loop):
    reading, writing = pipe
    reader = message(reading, bytearray(b"abc"))
    next(reader)
    os.close(writing)

    assert run_loop(reading, reader) == ["reset"]


def test_a_message_that_cannot_be_understood_does_not_keep_the_loop_from_its_end(pipe, run_loop):
    reading, writing = pipe

    def reader():
        yield
        raise ValueError("no message")

    half_read = reader()
    next(half_read)
    os.close(writing)

    events = run_loop(reading, half_read, error=ValueError)

    assert events == ["reset"]
