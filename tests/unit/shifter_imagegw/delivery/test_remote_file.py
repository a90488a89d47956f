# SPDX-License-Identifier: BSD-3-Clause
"""What a program sends that was started for it; the real ssh is in tests/integration/delivery."""

from __future__ import annotations

import contextlib
import os

import pytest

from shifter_imagegw.delivery import remote_file
from shifter_imagegw.delivery.remote_file import RemoteFile
from shifter_imagegw.errors import DeliveryError
from shifter_imagegw.run import conversing


@contextlib.contextmanager
def program(script):
    with conversing(["sh", "-c", script], failing=DeliveryError) as running:
        yield running


def sent_by(running, size):
    return RemoteFile(running, lambda: None, size, 0)


def test_a_program_is_told_from_which_byte_on():
    with program('read -r first; echo "from $first"') as running:
        file = sent_by(running, 10)
        file.begin_at(4)

        assert file.read(100) == b"from 5"  # no more than six are left
        assert file.read(100) == b""


def test_no_byte_that_follows_a_line_is_taken_with_it():
    with program("printf 'one\\ntwo'") as running:
        assert remote_file.next_line(running) == "one\n"
        assert sent_by(running, 3).read(100) == b"two"


def test_a_program_that_ends_early_is_told_with_its_reason():
    with program("printf abc; echo 'connection lost' >&2; exit 255") as running:
        file = sent_by(running, 10)
        assert file.read(100) == b"abc"

        with pytest.raises(
            DeliveryError, match="ssh ended 7 bytes before the end of an image: connection lost"
        ):
            file.read(100)


def test_a_program_that_falls_silent_is_not_waited_for(monkeypatch):
    monkeypatch.setattr(remote_file, "_LONGEST_SILENCE", 0.01)

    with (
        program("exec sleep 1000") as running,
        pytest.raises(DeliveryError, match=r"ssh said nothing for 0\.01 seconds"),
    ):
        sent_by(running, 10).read(100)


def test_a_program_ends_with_what_is_done_with_it(tmp_path):
    with program(f"echo $$ >{tmp_path}/pid; echo begun; exec sleep 1000") as running:
        assert remote_file.next_line(running) == "begun\n"
        pid = int((tmp_path / "pid").read_text())

    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


def test_words_for_a_program_that_has_ended_are_no_failure():
    with program("exit 0") as running:
        assert remote_file.next_line(running) == ""

        remote_file.say(running, "7\n")
