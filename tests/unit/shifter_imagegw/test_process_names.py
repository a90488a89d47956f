# SPDX-License-Identifier: BSD-3-Clause
from __future__ import annotations

import os

import pytest

from shifter_imagegw import process_names
from shifter_imagegw.process_names import is_dead, worker_name


@pytest.fixture
def another_place(monkeypatch):
    """Stand in for a container that has this machine's name and process ids of its own."""

    def go():
        monkeypatch.setattr(process_names, "_place", lambda: "0ther")

    return go


def test_a_worker_is_dead_only_if_its_very_process_is_gone():
    own = worker_name(os.getpid())
    host, pid, start = own.rsplit(":", 2)

    assert not is_dead(own)
    assert is_dead(f"{host}:{pid}:{int(start) + 1}")
    assert not is_dead(f"another-{own}")


def test_nothing_is_known_of_a_worker_with_other_process_ids(another_place):
    host, pid, start = worker_name(os.getpid()).rsplit(":", 2)
    gone = f"{host}:{pid}:{int(start) + 1}"
    assert is_dead(gone)

    another_place()

    assert not is_dead(gone)


def test_a_process_that_has_ended_has_no_name():
    pid = os.fork()
    if pid == 0:
        os._exit(0)
    os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)

    assert worker_name(pid) is None
    os.waitpid(pid, 0)
    assert worker_name(pid) is None


@pytest.fixture
def hidden(monkeypatch):
    """`hidden(pid)`: have /proc show this process to its own account only, which is another."""

    def hide(hidden_pid):
        kill, fields_of = os.kill, process_names._fields_of

        def forbidden(pid, number):
            if pid == hidden_pid:
                raise PermissionError
            kill(pid, number)

        monkeypatch.setattr(os, "kill", forbidden)
        monkeypatch.setattr(
            process_names, "_fields_of", lambda pid: None if pid == hidden_pid else fields_of(pid)
        )

    return hide


def test_nothing_is_known_of_a_process_that_is_hidden(hidden):
    own = worker_name(os.getpid())

    hidden(os.getpid())

    assert not is_dead(own)


@pytest.mark.parametrize("name", ["", "x", "another:1:1", ":::"])
def test_nobody_is_dead_whose_name_says_nothing_here(name):
    assert not is_dead(name)
