# SPDX-License-Identifier: BSD-3-Clause
"""What a zstd file is made of: is it whole, and how much memory does it ask for?

The decompressor itself ends silently where its input ends. Only the frame and block headers are
read (RFC 8878, section 3.1): three bytes per 128 KiB of an honest file. A hostile one may consist
of nothing else, so whoever asks can be told to stop.
"""

from __future__ import annotations

import os
from collections.abc import Callable

FRAME_MAGIC = b"\x28\xb5\x2f\xfd"
_SKIPPABLE_MAGIC = b"\x2a\x4d\x18"  # after one byte of 0x50 to 0x5f
_RLE_BLOCK, _RESERVED_BLOCK = 1, 3
_WINDOW = 4 << 10  # bytes of the file read at once


class NotWantedError(Exception):
    """Nobody waits for the answer any more."""


def is_skippable(magic: bytes) -> bool:
    return magic[1:4] == _SKIPPABLE_MAGIC and magic[0] & 0xF0 == 0x50


class Frames:
    """The frames of one file. `is_wanted` is asked now and then while they are read."""

    def __init__(self, descriptor: int, is_wanted: Callable[[], bool]) -> None:
        self.largest_window = 0  # bytes of memory that a decompressor needs; known after a walk
        self._descriptor = descriptor
        self._size = os.fstat(descriptor).st_size
        self._is_wanted = is_wanted
        self._window = b""
        self._start = 0  # of the window, in the file

    def are_whole(self) -> bool:
        """Tell whether the last frame ends where the file ends."""
        offset = 0
        while offset < self._size:
            magic = self._read(offset, 4)
            if len(magic) == 4 and is_skippable(magic):
                offset += 8 + int.from_bytes(self._read(offset + 4, 4), "little")
            elif magic == FRAME_MAGIC:
                end = self._end_of_frame(offset + 4)
                if end is None:
                    return False
                offset = end
            else:
                return False
        return offset == self._size

    def _end_of_frame(self, offset: int) -> int | None:
        header = self._read(offset, 14)
        if not header:
            return None
        flags = header[0]
        single_segment = flags >> 5 & 1
        has_checksum = flags >> 2 & 1
        content_size = (single_segment, 2, 4, 8)[flags >> 6]
        dictionary_id = (0, 1, 2, 4)[flags & 3]
        length = 1 + (1 - single_segment) + dictionary_id + content_size
        if len(header) < length:
            return None
        window = _window_size(header, length - content_size, content_size)
        self.largest_window = max(self.largest_window, window)
        offset += length
        while True:
            block = self._read(offset, 3)
            if len(block) < 3:
                return None
            word = int.from_bytes(block, "little")
            is_last, kind, size = word & 1, word >> 1 & 3, word >> 3
            if kind == _RESERVED_BLOCK:
                return None
            offset += 3 + (1 if kind == _RLE_BLOCK else size)
            if is_last:
                return offset + 4 * has_checksum

    def _read(self, offset: int, count: int) -> bytes:
        """At most `count` bytes of the file, fewer only at its end."""
        at = offset - self._start
        if at < 0 or at + count > len(self._window):
            if not self._is_wanted():
                raise NotWantedError
            self._window = os.pread(self._descriptor, _WINDOW, offset)
            self._start, at = offset, 0
        return self._window[at : at + count]


def _window_size(header: bytes, content_size_at: int, content_size: int) -> int:
    """Bytes of output that the decompressor has to keep (RFC 8878, 3.1.1.1.2)."""
    if header[0] >> 5 & 1:
        stated = header[content_size_at : content_size_at + content_size]
        return int.from_bytes(stated, "little")
    exponent, mantissa = header[1] >> 3, header[1] & 7
    base: int = 1 << (10 + exponent)
    return base + base // 8 * mantissa
