# SPDX-License-Identifier: BSD-3-Clause
"""Submissions that are played: how many at once, on what connections, and what counts as failed."""

from __future__ import annotations

import asyncio

import pytest

from benchmarks import scale_storm
from benchmarks.scale_storm import Order

READY = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}"
MISSING = b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n"


class Gateway:
    """Answers in that way, as soon as so many wait, and notes what it saw."""

    def __init__(self, answer, at_once):
        self.answer = answer
        self.barrier = asyncio.Barrier(at_once)
        self.asked = []
        self.now = self.most = 0

    async def serve(self, reader, writer):
        self.now += 1
        self.most = max(self.most, self.now)
        head = await reader.readuntil(b"\r\n\r\n")
        self.asked.append(head.decode().splitlines())
        await self.barrier.wait()
        self.now -= 1
        writer.write(self.answer)
        writer.close()
        await writer.wait_closed()


@pytest.fixture
def play(monkeypatch):
    credentials = (f"MUNGE:{number}" for number in range(1000))
    monkeypatch.setattr(scale_storm.munge, "encode", lambda socket: next(credentials))

    def played(gateway, submissions):
        async def run():
            server = await asyncio.start_server(gateway.serve, scale_storm.HOST, 0)
            async with server:
                port = server.sockets[0].getsockname()[1]
                return await scale_storm.play(
                    Order(
                        port=port,
                        paths=["/a/", "/b/"],
                        munge_socket="",
                        submissions=submissions,
                        at_once=gateway.barrier.parties,
                    )
                )

        return asyncio.run(run())

    return played


def test_each_submission_asks_once_with_a_credential_of_its_own(play):
    gateway = Gateway(READY, at_once=20)

    storm = play(gateway, 20)

    assert len(storm.seconds) == len(gateway.asked) == 20
    assert storm.failures == {}
    credentials = {line for head in gateway.asked for line in head if line.startswith("auth")}
    assert credentials == {f"authentication: MUNGE:{number}" for number in range(20)}
    assert {head[0].split()[1] for head in gateway.asked} == {"/a/", "/b/"}


def test_as_many_are_under_way_as_was_ordered(play):
    gateway = Gateway(READY, at_once=3)

    play(gateway, 30)

    assert gateway.most == 3
    assert len(gateway.asked) == 30


@pytest.mark.parametrize(
    ("answer", "why"), [(MISSING, "answered 'HTTP/1.1 404 Not Found'"), (b"", "answered ''")]
)
def test_what_is_no_image_is_a_failure_and_no_time(play, answer, why):
    storm = play(Gateway(answer, at_once=1), 3)

    assert (storm.seconds, storm.failures) == ([], {why: 3})


def test_nobody_who_listens_is_a_failure(monkeypatch):
    monkeypatch.setattr(scale_storm.munge, "encode", lambda socket: "MUNGE:1")
    order = Order(port=1, paths=["/"], munge_socket="", submissions=2, at_once=2)

    storm = asyncio.run(scale_storm.play(order))

    assert sum(storm.failures.values()) == 2
