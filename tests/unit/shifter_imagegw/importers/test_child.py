# SPDX-License-Identifier: BSD-3-Clause
"""The process that opens what users name: what it has, what it says, and how it ends."""

from __future__ import annotations

import os
import socket
import time

import pytest

from shifter_imagegw.errors import LeaseLostError, PullError
from shifter_imagegw.importers.child import Line, running_as


def alive(pid):
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def test_it_answers_with_descriptors():
    def work(line):
        descriptor = os.open("/dev/null", os.O_RDONLY)
        line.send({"n": 1}, descriptor)

    with running_as(None, work) as line:
        message, (descriptor,) = line.receive()
        found = os.readlink(f"/proc/self/fd/{descriptor}")
        os.close(descriptor)

    assert (message, found) == ({"n": 1}, "/dev/null")


def test_it_holds_nothing_of_the_worker(tmp_path):
    secret = (tmp_path / "secret").open("w")
    kept, other_end = os.pipe()

    def work(line):
        found = [f"/proc/self/fd/{number}" for number in os.listdir("/proc/self/fd")]
        # The descriptor that listed them is gone by now.
        line.send({"open": [os.readlink(path) for path in found if os.path.lexists(path)]})

    with running_as(None, work, keeping=(kept,)) as line:
        message, _ = line.receive()
    secret.close()
    os.close(kept)
    os.close(other_end)

    kinds = sorted(name.partition(":")[0] for name in message["open"])
    assert kinds == ["/dev/null"] * 3 + ["pipe", "socket"]


def test_what_it_raises_is_said():
    def work(line):
        raise PullError("there is no such thing")

    with running_as(None, work) as line:
        assert line.receive() == ({"error": "there is no such thing"}, [])


def test_a_defect_of_ours_is_raised_where_it_is_logged():
    def work(line):
        raise ZeroDivisionError

    with running_as(None, work) as line, pytest.raises(RuntimeError, match="ZeroDivisionError"):
        line.receive()


def test_it_is_gone_when_nobody_waits_for_it_any_more():
    def work(line):
        line.send({"pid": os.getpid()})
        time.sleep(600)

    with running_as(None, work) as line:
        message, _ = line.receive()

    assert not alive(message["pid"])


def test_who_waits_for_it_can_be_stopped():
    def stop():
        raise LeaseLostError("another has it")

    with running_as(None, lambda line: time.sleep(600)) as line, pytest.raises(LeaseLostError):
        line.receive(stop)


def test_the_end_of_it_is_seen():
    with running_as(None, lambda line: None) as line:
        assert line.receive() is None


def test_what_the_other_end_said_last_is_heard_though_it_was_asked_in_vain():
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with ours, theirs:
        Line(ours).send({"path": "/f"})
        Line(theirs).send({"error": "it must not"})
        theirs.close()

        assert Line(ours).receive() == ({"error": "it must not"}, [])
        assert Line(ours).receive() is None
