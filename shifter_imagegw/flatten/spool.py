# SPDX-License-Identifier: BSD-3-Clause
"""The bytes of hidden files, kept until their layer ends: a hard link may still name them."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path

from shifter_imagegw.flatten.errors import SpoolError
from shifter_imagegw.flatten.sparse import Segment
from shifter_imagegw.flatten.tar_header import BLOCK

_READ = 1 << 20


class Spool:
    """A file without a name in `directory`, made when first needed; holes stay holes."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._descriptor = -1
        self._end = 0

    def close(self) -> None:
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    def clear(self) -> None:
        """Forget everything and give the space back."""
        if self._end:
            os.ftruncate(self._descriptor, 0)
            self._end = 0

    def keep(self, segments: list[Segment], size: int, pieces: Iterable[memoryview]) -> int:
        """Keep a file of `size` bytes, of which `pieces` are at `segments`; give its place."""
        place = self._end
        rest = iter(segments)
        offset = left = 0
        try:
            self._open()
            for whole in pieces:
                piece = whole
                while piece:
                    while not left:
                        offset, left = next(rest)
                    written = os.pwrite(self._descriptor, piece[:left], place + offset)
                    offset, left, piece = offset + written, left - written, piece[written:]
            self._end = place + size + -size % BLOCK
            os.ftruncate(self._descriptor, self._end)
        except OSError as error:
            raise SpoolError(
                f"cannot keep {size} bytes of a layer in {self._directory}: {error.strerror}"
            ) from error
        return place

    def padded(self, place: int, size: int) -> Iterator[memoryview]:
        """Give a file back, with the zeros that fill its last block."""
        end = place + size + -size % BLOCK
        while place < end:
            piece = os.pread(self._descriptor, min(_READ, end - place), place)
            place += len(piece)
            yield memoryview(piece)

    def _open(self) -> None:
        if self._descriptor < 0:
            file = tempfile.TemporaryFile(dir=self._directory, prefix="spool-")  # noqa: SIM115
            with file:
                self._descriptor = os.dup(file.fileno())
