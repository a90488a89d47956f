# SPDX-License-Identifier: BSD-3-Clause
"""Words for what the kernel only calls an invalid argument."""

from __future__ import annotations

import os
import struct

import pytest

from shifter_runtime import superblock


def squashfs(size: int, compressor: int = 6) -> bytes:
    return struct.pack("<4s16xH18xQ", b"hsqs", compressor, size).ljust(size, b"\0")


def ext4(blocks: int) -> bytes:
    return (bytes(1028) + struct.pack("<I16xI28xH", blocks, 2, 0xEF53)).ljust(4096, b"\0")


def xfs(blocks: int) -> bytes:
    return struct.pack(">4sIQ", b"XFSB", 4096, blocks).ljust(4096, b"\0")


@pytest.mark.parametrize(
    ("fstype", "content", "problem"),
    [
        ("squashfs", b"", "it is no squashfs file; pull the image again"),
        ("squashfs", b"PK\x03\x04" * 64, "it is no squashfs file; pull the image again"),
        ("ext4", squashfs(4096), "it is no ext4 file; pull the image again"),
        ("xfs", ext4(1), "it is no xfs file; pull the image again"),
        (
            "squashfs",
            squashfs(8192)[:4096],
            "it is cut off: it promises 8192 bytes and has 4096; pull the image again",
        ),
        (
            "ext4",
            ext4(2),
            "it is cut off: it promises 8192 bytes and has 4096; pull the image again",
        ),
        ("xfs", xfs(2), "it is cut off: it promises 8192 bytes and has 4096; pull the image again"),
        (
            "squashfs",
            squashfs(4096, 2),
            "this node's kernel may lack the compressor lzma, or the file is damaged; pull the "
            "image again, or ask the administrator for another compressor",
        ),
        (
            "squashfs",
            squashfs(4096, 99),
            "it is damaged, or made for another kernel than this node's; pull the image again",
        ),
        (
            "ext4",
            ext4(1),
            "it is damaged, or made for another kernel than this node's; pull the image again",
        ),
    ],
)
def test_what_a_file_says_of_itself_is_put_into_words(tmp_path, fstype, content, problem):
    path = tmp_path / "image"
    path.write_bytes(content)
    fd = os.open(path, os.O_RDONLY)

    try:
        assert superblock.problem(fd, fstype) == problem
    finally:
        os.close(fd)
