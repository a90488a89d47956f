# SPDX-License-Identifier: BSD-3-Clause
"""The merged tar stream: GNU format, because it carries names of any bytes and any length."""

from __future__ import annotations

from collections.abc import Iterable
from typing import BinaryIO

from shifter_imagegw.flatten.tar_header import BLOCK, ZERO_BLOCK, sum_of

IMPLIED_MODE = 0o755  # of a directory that no layer describes

_FLUSH = 1 << 20  # bytes written at once: what fits into the largest pipe
_PIECES = 1024
_OCTAL_SIZE_END = 1 << 33
_FILE, _HARD_LINK, _SYMLINK, _DIRECTORY = b"0", b"1", b"2", b"5"
_LONG_NAME, _LONG_LINK = b"L", b"K"


def readable_mode(mode: int, *, is_directory: bool) -> int:
    """What `chmod a+rX,u+w` makes of `mode`; set-id bits and a file's sticky bit are gone."""
    if is_directory:
        return mode & 0o1777 | 0o755
    return mode & 0o777 | (0o755 if mode & 0o111 else 0o644)


class TarWriter:
    """Write entries that are owned by root and readable by all."""

    def __init__(self, out: BinaryIO) -> None:
        self.entries = 0
        self._out = out
        self._pieces: list[bytes | memoryview] = []
        self._size = 0

    def directory(self, path: bytes, mode: int, mtime: int) -> None:
        mode = readable_mode(mode, is_directory=True)
        self._header(path + b"/" if path else b"./", _DIRECTORY, mode, mtime, 0, b"")

    def symlink(self, path: bytes, target: bytes, mtime: int) -> None:
        self._header(path, _SYMLINK, 0o777, mtime, 0, target)

    def hard_link(self, path: bytes, target: bytes) -> None:
        """Make `path` another name of `target`, an entry written before."""
        self._header(path, _HARD_LINK, 0o644, 0, 0, target)

    def file(
        self, path: bytes, mode: int, mtime: int, size: int, padded_data: Iterable[memoryview]
    ) -> None:
        """Write a file of `size` bytes; `padded_data` has them and those up to a whole block."""
        mode = readable_mode(mode, is_directory=False)
        self._header(path, _FILE, mode, mtime, size, b"")
        for piece in padded_data:
            self._add(piece)

    def finish(self) -> None:
        """Write the end of the archive."""
        self._add(ZERO_BLOCK * 2)
        self._flush()

    def _header(
        self, path: bytes, kind: bytes, mode: int, mtime: int, size: int, link: bytes
    ) -> None:
        self.entries += 1
        if len(link) > 100:
            self._long(_LONG_LINK, link)
        if len(path) > 100:
            self._long(_LONG_NAME, path)
        self._add(_block(path, kind, mode, mtime, size, link))

    def _long(self, kind: bytes, name: bytes) -> None:
        name += b"\0"
        self._add(_block(b"././@LongLink", kind, 0o644, 0, len(name), b""))
        self._add(name + bytes(-len(name) % BLOCK))

    def _add(self, piece: bytes | memoryview) -> None:
        self._pieces.append(piece)
        self._size += len(piece)
        if self._size >= _FLUSH or len(self._pieces) >= _PIECES:
            self._flush()

    def _flush(self) -> None:
        self._out.write(b"".join(self._pieces))
        self._pieces.clear()
        self._size = 0


def _block(path: bytes, kind: bytes, mode: int, mtime: int, size: int, link: bytes) -> bytes:
    number = b"%011o\0" % size if size < _OCTAL_SIZE_END else b"\x80" + size.to_bytes(11, "big")
    start = b"%b%07o\x000000000\x000000000\0%b%011o\0" % (
        path[:100].ljust(100, b"\0"),
        mode,
        number,
        mtime,
    )
    end = b"%b%bustar  \0%b" % (kind, link[:100].ljust(100, b"\0"), _TAIL)
    checksum = sum_of(b"%b        %b" % (start, end))
    return b"%b%06o\0 %b" % (start, checksum, end)


_TAIL = bytes(BLOCK - 265)
