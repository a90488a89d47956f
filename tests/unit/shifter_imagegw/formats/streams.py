# SPDX-License-Identifier: BSD-3-Clause
"""Merged tar streams, as the flattener writes them, of entries that a test names."""

from __future__ import annotations

from collections.abc import Callable
from typing import BinaryIO

from shifter_imagegw.flatten.tar_writer import TarWriter

Entry = Callable[[TarWriter], None]


def file(path: bytes, content: bytes = b"content", mode: int = 0o644, mtime: int = 7) -> Entry:
    padded = memoryview(content + bytes(-len(content) % 512))
    return lambda tar: tar.file(path, mode, mtime, len(content), [padded])


def directory(path: bytes, mode: int = 0o755, mtime: int = 7) -> Entry:
    return lambda tar: tar.directory(path, mode, mtime)


def symlink(path: bytes, target: bytes, mtime: int = 7) -> Entry:
    return lambda tar: tar.symlink(path, target, mtime)


def hard_link(path: bytes, target: bytes) -> Entry:
    return lambda tar: tar.hard_link(path, target)


def stream(*entries: Entry) -> Callable[[BinaryIO], int]:
    """What writes these entries; it gives their number."""

    def write(out: BinaryIO) -> int:
        tar = TarWriter(out)
        for entry in entries:
            entry(tar)
        tar.finish()
        return tar.entries

    return write


LATE = file(b"late", mtime=(1 << 32) + 5)  # in 2106; squashfs cannot hold that

# Of everything that an image may hold, in an order that a merge may give it.
ALL_KINDS = (
    file(b"usr/bin/program", b"x" * 10_000, 0o755),
    file(b"empty", b""),
    file(b"n" * 255),
    file(b"/".join([b"deep" * 20] * 40)),
    file(b" odd\nname\xff\\ "),
    file(b"data/zeros", bytes(300_000)),
    file(b"data/sparse", (bytes(1 << 16) + b"x" * (1 << 16)) * 6 + b"end"),
    LATE,
    symlink(b"bin", b"usr/bin"),
    symlink(b"short", b"s" * 59),
    symlink(b"longer", b"l" * 60),
    symlink(b"longest", b"l" * 4000),
    hard_link(b"again", b"usr/bin/program"),
    hard_link(b"usr/again", b"usr/bin/program"),
    hard_link(b"link-again", b"bin"),
    *(file(b"many/%05d" % number, b"") for number in range(500)),
    directory(b"usr", 0o1777, 1_700_000_000),
    directory(b"nothing/in/it"),
    directory(b"", 0o755, 1_700_000_000),
)
