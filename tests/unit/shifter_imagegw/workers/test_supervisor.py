# SPDX-License-Identifier: BSD-3-Clause
from __future__ import annotations

import contextlib
import os
import select
import signal
import time
from functools import partial
from pathlib import Path

import pytest

from shifter_imagegw.workers.supervisor import Role, Supervisor, Timing

QUICK = Timing(first_delay=0.01, longest_delay=0.05, stop_grace=0.5)


@pytest.fixture
def pipe():
    """Where children say something; reading ends when the last of them is gone."""
    reading, writing = os.pipe()
    yield reading, writing
    for descriptor in (reading, writing):
        try:
            os.close(descriptor)
        except OSError:
            continue


def say_and_wait(writing, signals=()):
    for number in signals:
        signal.signal(number, signal.SIG_IGN)
    os.write(writing, f"{os.getpid()}\n".encode())
    while True:
        signal.pause()


def say_and_leave_a_grandchild(writing):
    is_said, said = os.pipe()
    if os.fork() == 0:
        os.write(writing, f"{os.getpid()}\n".encode())
        os.close(said)
        while True:
            signal.pause()
    os.close(said)
    os.read(is_said, 1)  # its end


@pytest.fixture
def supervise(pipe):
    """Run a supervisor in a process of its own; its id."""
    pids = []

    def run(role, timing=QUICK):
        pid = os.fork()
        if pid == 0:
            try:
                os.close(pipe[0])
                Supervisor([role], timing).run()
            finally:
                os._exit(0)
        os.close(pipe[1])
        pids.append(pid)
        return pid

    yield run
    for pid in pids:
        with contextlib.suppress(ChildProcessError):  # its test has seen it end
            if os.waitpid(pid, os.WNOHANG) == (0, 0):
                os.kill(pid, signal.SIGKILL)
                os.waitpid(pid, 0)


def next_number(reading):
    """What a child says next; None when nobody is left to say anything."""
    assert select.select([reading], [], [], 10)[0], "no child said anything"
    text = b""
    while not text.endswith(b"\n"):
        character = os.read(reading, 1)
        if not character:
            return None
        text += character
    return int(text)


def is_running(pid):
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except FileNotFoundError:
        return False
    return stat.rpartition(")")[2].split()[0] != "Z"


def exit_status(pid):
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def test_a_child_that_dies_is_started_again(pipe, supervise):
    supervisor = supervise(Role(name="a", main=partial(say_and_wait, pipe[1])))
    first = next_number(pipe[0])

    os.kill(first, signal.SIGKILL)

    assert next_number(pipe[0]) not in (first, None)
    os.kill(supervisor, signal.SIGTERM)
    assert exit_status(supervisor) == 0


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_stopped_supervisor_leaves_no_child(pipe, supervise, number):
    supervisor = supervise(Role(name="a", main=partial(say_and_wait, pipe[1])))
    next_number(pipe[0])

    os.kill(supervisor, number)

    assert exit_status(supervisor) == 0
    assert next_number(pipe[0]) is None


def test_a_child_that_does_not_listen_is_killed_after_its_grace(pipe, supervise):
    deaf = partial(say_and_wait, pipe[1], signals=[signal.SIGTERM])
    supervisor = supervise(Role(name="a", main=deaf))
    next_number(pipe[0])

    os.kill(supervisor, signal.SIGTERM)

    assert exit_status(supervisor) == 0
    assert next_number(pipe[0]) is None


def test_a_killed_supervisor_leaves_no_child(pipe, supervise):
    supervisor = supervise(Role(name="a", main=partial(say_and_wait, pipe[1])))
    next_number(pipe[0])

    os.kill(supervisor, signal.SIGKILL)

    assert exit_status(supervisor) == -signal.SIGKILL
    assert next_number(pipe[0]) is None


def test_what_a_dead_child_has_started_is_killed_with_it(pipe, supervise):
    role = Role(name="a", main=partial(say_and_leave_a_grandchild, pipe[1]))
    supervisor = supervise(role, timing=Timing(first_delay=100, longest_delay=100))

    grandchild = next_number(pipe[0])

    deadline = time.monotonic() + 10
    while is_running(grandchild) and time.monotonic() < deadline:
        select.select([], [], [], 0.01)
    assert not is_running(grandchild)
    os.kill(supervisor, signal.SIGTERM)
    assert exit_status(supervisor) == 0
