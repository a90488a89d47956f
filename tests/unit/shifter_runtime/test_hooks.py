# SPDX-License-Identifier: BSD-3-Clause
"""What is said of a script that ends well, badly, or not at all."""

from __future__ import annotations

import os

import pytest

from shifter_runtime import hooks
from shifter_runtime.errors import SetupError


@pytest.fixture
def run(tmp_path):
    """`run(script, seconds)`: run it as the container's user would."""

    def run(script: str, seconds: float = 20) -> None:
        path = tmp_path / "hook"
        path.write_text(script)
        hooks.run_as_user("userhook", str(path), seconds)

    return run


def failure(run, script: str, seconds: float = 20) -> str:
    with pytest.raises(SetupError) as raised:
        run(script, seconds)
    return str(raised.value).partition("/hook ")[2]


def test_a_script_that_says_nothing_leaves_no_trace(run, capfd):
    before = os.listdir("/proc/self/fd")

    run("exit 0")

    assert capfd.readouterr() == ("", "")
    assert len(os.listdir("/proc/self/fd")) == len(before)


def test_what_it_prints_goes_to_standard_error(run, capfd):
    run("echo one; echo two >&2")

    assert capfd.readouterr() == ("", "one\ntwo\n")


def test_its_status_is_told(run):
    assert failure(run, "exit 5") == "failed with exit status 5"
    assert failure(run, "kill -15 $$") == "was ended by signal 15"


def test_its_last_words_are_told_whatever_bytes_they_are(run):
    assert failure(run, "printf 'a\\377b\\n\\n'; exit 1") == (
        "failed with exit status 1, saying:\n    a\udcffb"
    )


def test_of_much_output_the_end_is_told(run):
    said = failure(run, "seq 1 100000; exit 1")

    assert said.endswith("\n    99999\n    100000")
    assert said.count("\n") == 10


@pytest.mark.parametrize("seconds", [0.0001, 0.2])
def test_time_that_is_up_is_told(run, seconds):
    said = failure(run, "echo begun; sleep 30", seconds)

    assert said.startswith(f"took longer than {seconds:g} seconds (hookTimeout), and was ended")


def test_no_limit_is_no_limit(run):
    run("sleep 0.1", 0)


def test_a_process_that_cannot_be_had_is_told(run, monkeypatch):
    def refused() -> int:
        raise BlockingIOError(11, "Resource temporarily unavailable")

    monkeypatch.setattr(os, "fork", refused)

    with pytest.raises(SetupError, match="cannot run userhook .*: Resource temporarily unavail"):
        run("true")
