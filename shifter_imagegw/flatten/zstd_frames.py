# SPDX-License-Identifier: BSD-3-Clause
"""Is a zstd file whole? The decompressor itself ends silently where its input ends.

Only the frame and block headers are read (RFC 8878, section 3.1): three bytes per 128 KiB.
"""

from __future__ import annotations

import os

FRAME_MAGIC = b"\x28\xb5\x2f\xfd"
_SKIPPABLE_MAGIC = b"\x2a\x4d\x18"  # after one byte of 0x50 to 0x5f
_RLE_BLOCK, _RESERVED_BLOCK = 1, 3


def is_skippable(magic: bytes) -> bool:
    return magic[1:4] == _SKIPPABLE_MAGIC and magic[0] & 0xF0 == 0x50


def is_whole(descriptor: int) -> bool:
    """Tell whether the last frame of the file ends where the file ends."""
    size = os.fstat(descriptor).st_size
    offset = 0
    while offset < size:
        magic = os.pread(descriptor, 4, offset)
        if len(magic) == 4 and is_skippable(magic):
            offset += 8 + int.from_bytes(os.pread(descriptor, 4, offset + 4), "little")
        elif magic == FRAME_MAGIC:
            end = _end_of_frame(descriptor, offset + 4)
            if end is None:
                return False
            offset = end
        else:
            return False
    return offset == size


def _end_of_frame(descriptor: int, offset: int) -> int | None:
    flags = os.pread(descriptor, 1, offset)
    if not flags:
        return None
    single_segment = flags[0] >> 5 & 1
    has_checksum = flags[0] >> 2 & 1
    content_size = (single_segment, 2, 4, 8)[flags[0] >> 6]
    dictionary_id = (0, 1, 2, 4)[flags[0] & 3]
    offset += 1 + (1 - single_segment) + dictionary_id + content_size
    while True:
        header = os.pread(descriptor, 3, offset)
        if len(header) < 3:
            return None
        word = int.from_bytes(header, "little")
        is_last, kind, length = word & 1, word >> 1 & 3, word >> 3
        if kind == _RESERVED_BLOCK:
            return None
        offset += 3 + (1 if kind == _RLE_BLOCK else length)
        if is_last:
            return offset + 4 * has_checksum
