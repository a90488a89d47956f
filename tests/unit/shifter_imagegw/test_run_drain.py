# SPDX-License-Identifier: BSD-3-Clause
"""Programs whose output is read while they write it."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from shifter_imagegw.errors import ConversionError
from shifter_imagegw.flatten import LayerError
from shifter_imagegw.run import drain


def drained(script, read=lambda pipe: os.read(pipe, 1 << 16), *, memory=1 << 30, stdin=0):
    return drain(["sh", "-c", script], read, stdin=stdin, memory=memory, failing=ConversionError)


def test_what_a_program_writes_is_read_while_it_writes():
    assert drained("echo hello") == b"hello\n"


def test_a_program_reads_the_file_that_it_is_given(tmp_path):
    with (tmp_path / "file").open("w+b") as file:
        file.write(b"content")
        file.flush()

        assert drained("cat /dev/stdin", stdin=file.fileno()) == b"content"


def test_a_program_that_fails_behind_its_output_fails():
    with pytest.raises(ConversionError, match="sh failed with exit status 3: broken"):
        drained("echo all; echo broken >&2; exit 3")


def test_the_programs_reason_comes_before_the_readers():
    def read(pipe):
        os.read(pipe, 100)
        raise LayerError("the end is missing")

    with pytest.raises(ConversionError, match="broken input"):
        drained("echo broken input >&2; exit 1", read)


def test_a_reader_that_gives_up_ends_the_program(tmp_path):
    def read(pipe):
        (tmp_path / "pid").write_bytes(os.read(pipe, 100))
        raise LayerError("enough")

    with pytest.raises(LayerError, match="enough"):
        drained("echo $$; exec sleep 600", read)

    assert not Path("/proc", (tmp_path / "pid").read_text().strip()).exists()


def test_a_program_gets_no_more_memory_than_it_may_have():
    code = "bytearray(1 << 29)"

    with pytest.raises(ConversionError, match="MemoryError"):
        drained(f"exec {sys.executable} -c '{code}'", memory=300 << 20)


def test_a_program_that_may_be_taken_over_has_no_privileges():
    said = drained("echo $(id -u; grep CapEff /proc/self/status)").decode().split()

    assert said == [str(os.geteuid() or 65534), "CapEff:", "0" * 16]
