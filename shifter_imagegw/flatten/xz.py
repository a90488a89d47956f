# SPDX-License-Identifier: BSD-3-Clause
"""Unpack xz with a limit to the memory that it may ask for.

An xz file names the size of its dictionary, up to 4 GiB, and the standard library's reader of
files gives it that; so a small layer could take all of the gateway's memory.
"""

from __future__ import annotations

import lzma
from typing import BinaryIO

_MEMORY_MAX = 96 << 20  # bytes; `xz -9`, the largest default, needs 65 MiB
_PACKED_CHUNK = 128 << 10  # bytes


class XzReader:
    """The unpacked bytes of one xz file, of one stream or several."""

    def __init__(self, blob: BinaryIO) -> None:
        self._blob = blob
        self._packed = b""
        self._decompressor = _decompressor()

    def read(self, size: int, /) -> bytes:
        """The next `size` bytes, fewer only at the end of the file.

        Raises EOFError where the file ends inside a stream, and LZMAError.
        """
        pieces: list[bytes] = []
        missing = size
        while missing and self._has_more():
            pieces.append(self._decompressor.decompress(self._packed, missing))
            missing -= len(pieces[-1])
            self._packed = self._decompressor.unused_data if self._decompressor.eof else b""
        return b"".join(pieces)

    def close(self) -> None:
        self._packed = b""

    def _has_more(self) -> bool:
        """Whether the decompressor has something to do; a new one for each stream."""
        while True:
            if self._decompressor.eof:
                self._packed = self._packed.lstrip(b"\0")  # padding
                if self._packed:
                    self._decompressor = _decompressor()
                    return True
            elif self._packed or not self._decompressor.needs_input:
                return True
            self._packed = self._blob.read(_PACKED_CHUNK)
            if not self._packed:
                if self._decompressor.eof:
                    return False
                raise EOFError("it ends inside an xz stream")


def _decompressor() -> lzma.LZMADecompressor:
    return lzma.LZMADecompressor(format=lzma.FORMAT_XZ, memlimit=_MEMORY_MAX)
