# SPDX-License-Identifier: BSD-3-Clause
"""How a loop device is told to belong to a file."""

from __future__ import annotations

import errno
import os
import sys

import pytest

from shifter_runtime import loop, syscalls
from shifter_runtime.errors import SetupError


@pytest.mark.parametrize(
    ("major", "minor", "encoded"),
    [(8, 1, 0x801), (0, 0x2B, 0x2B), (254, 0, 0xFE00), (0, 0x12345, 0x12300045)],
)
def test_device_numbers_are_written_as_the_kernel_does(major, minor, encoded):
    assert loop._encoded_device(os.makedev(major, minor)) == encoded


def info_of(path, **changed: int) -> bytes:
    found = path.stat()
    values = {"device": loop._encoded_device(found.st_dev), "inode": found.st_ino, "offset": 0,
              "size_limit": 0, "flags": syscalls.LOOP_READ_ONLY} | changed  # fmt: skip
    info = bytearray(232)
    for at, name in ((0, "device"), (8, "inode"), (24, "offset"), (32, "size_limit")):
        info[at : at + 8] = values[name].to_bytes(8, sys.byteorder)
    info[52:56] = values["flags"].to_bytes(4, sys.byteorder)
    return bytes(info)


@pytest.mark.parametrize(
    ("changed", "is_ours"),
    [
        ({}, True),
        ({"inode": 1}, False),
        ({"device": 1}, False),
        ({"offset": 512}, False),
        ({"size_limit": 4096}, False),
        ({"flags": 0}, False),  # somebody could write to it
    ],
)
def test_only_a_whole_read_only_device_of_the_same_file_is_shared(
    tmp_path, monkeypatch, changed, is_ours
):
    path = tmp_path / "image"
    path.write_bytes(b"x")
    info = info_of(path, **changed)
    monkeypatch.setattr(syscalls, "control", lambda *_: (0, info))

    assert loop._backs(-1, "/dev/loop0", path.stat()) is is_ours


@pytest.mark.wish(16)
def test_where_no_device_is_free_it_is_said_how_many_are_in_use(tmp_path, monkeypatch):
    control = tmp_path / "loop-control"
    control.touch()
    monkeypatch.setattr(loop, "_CONTROL", str(control))
    monkeypatch.setattr(loop, "_in_use", lambda: 256)

    def none_left(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(syscalls, "control", none_left)

    with pytest.raises(SetupError, match=r"no free loop device \(256 in use\): .*max_loop"):
        loop._configure(3, syscalls.LOOP_READ_ONLY)
