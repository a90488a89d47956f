# SPDX-License-Identifier: BSD-3-Clause
"""Empty filesystems are copied to the same places, without their zeros."""

from __future__ import annotations

import os

import pytest

from shifter_runtime import xfs

BLOCK, MIB = xfs.BLOCK, 1 << 20


@pytest.fixture
def copied(tmp_path):
    """Copy a file of `size` with these contents at these places; the copy."""

    def copy(size, contents):
        source, target = tmp_path / "source", tmp_path / "target"
        for path in (source, target):
            path.touch()
            os.truncate(path, size)
        with source.open("r+b") as file:
            for place, content in contents.items():
                file.seek(place)
                file.write(content)
        with source.open("rb") as reading, target.open("r+b") as writing:
            xfs.copy(reading.fileno(), writing.fileno())
        assert target.read_bytes() == source.read_bytes()
        return target

    return copy


@pytest.mark.parametrize(
    "places",
    [
        (),
        (0,),
        (BLOCK,),
        (0, BLOCK, 3 * BLOCK),
        (MIB - BLOCK, MIB, MIB + BLOCK),
        (3 * MIB, 8 * MIB - BLOCK),
    ],
)
def test_every_byte_arrives_where_it_was(copied, places):
    copied(8 * MIB, {place: os.urandom(BLOCK) for place in places})


def test_a_block_with_a_single_byte_arrives(copied):
    copied(2 * MIB, {MIB + BLOCK - 1: b"\x01"})


def test_zeros_that_were_written_become_holes(copied):
    copy = copied(64 * MIB, {0: b"x" + bytes(64 * MIB - 1)})

    assert copy.stat().st_blocks * 512 <= 16 * BLOCK
