# SPDX-License-Identifier: BSD-3-Clause
"""Where the tar reader gets the bytes of what is no layer: from a program, or from an archive."""

from __future__ import annotations

import os
import select
from collections.abc import Callable, Iterator
from typing import cast

from shifter_imagegw.flatten.errors import TruncatedLayerError
from shifter_imagegw.flatten.limits import Budget
from shifter_imagegw.flatten.stream import CHUNK, LayerStream
from shifter_imagegw.flatten.tar_reader import TarReader

_LOOK_EVERY = 0.5  # seconds


def reader_of(source: PipeSource | FileSource, budget: Budget) -> TarReader:
    # What it asks of a layer's stream is what a source has.
    return TarReader(cast("LayerStream", source), budget)


class PipeSource:
    """What another process writes; `keep_going` is called while it writes nothing."""

    def __init__(
        self, descriptor: int, name: str, budget: Budget, keep_going: Callable[[], None]
    ) -> None:
        self.name = name
        self._descriptor = descriptor
        self._budget = budget
        self._keep_going = keep_going
        self._chunk = memoryview(b"")

    def take(self, size: int) -> bytes:
        """Give the next `size` bytes, fewer only where they end."""
        if size <= len(self._chunk):
            taken, self._chunk = self._chunk[:size], self._chunk[size:]
            return bytes(taken)
        return b"".join(self._available(size))

    def pieces(self, size: int, entry: Callable[[], str]) -> Iterator[memoryview]:
        for piece in self._available(size):
            size -= len(piece)
            yield piece
        if size:
            raise TruncatedLayerError(f"{self.name} ends inside {entry()}")

    def skip(self, size: int, entry: Callable[[], str]) -> None:
        for _ in self.pieces(size, entry):
            pass

    def read_to_end(self) -> None:
        """Let the other process write what comes behind the end of the archive."""
        while self._next_chunk():
            pass

    def _available(self, size: int) -> Iterator[memoryview]:
        while size:
            if not self._chunk and not self._next_chunk():
                return
            piece, self._chunk = self._chunk[:size], self._chunk[size:]
            size -= len(piece)
            yield piece

    def _next_chunk(self) -> bool:
        self._chunk = memoryview(read_when_ready(self._descriptor, self._keep_going))
        self._budget.spend_bytes(self.name, len(self._chunk))
        return bool(self._chunk)


class FileSource:
    """A file, of which whole members can be passed over without being read."""

    def __init__(self, descriptor: int, name: str, keep_going: Callable[[], None]) -> None:
        self.name = name
        self.position = 0
        self._descriptor = descriptor
        self._size = os.fstat(descriptor).st_size
        self._keep_going = keep_going

    def take(self, size: int) -> bytes:
        self._keep_going()
        data = os.pread(self._descriptor, size, self.position)
        self.position += len(data)
        return data

    def pieces(self, size: int, entry: Callable[[], str]) -> Iterator[memoryview]:
        while size:
            data = self.take(min(size, CHUNK))
            if not data:
                raise TruncatedLayerError(f"{self.name} ends inside {entry()}")
            size -= len(data)
            yield memoryview(data)

    def skip(self, size: int, entry: Callable[[], str]) -> None:
        self.position += size
        if self.position > self._size:
            raise TruncatedLayerError(f"{self.name} ends inside {entry()}")


def read_when_ready(descriptor: int, keep_going: Callable[[], None]) -> bytes:
    """What the next read gives; nothing at the end."""
    while True:
        keep_going()
        ready, _, _ = select.select([descriptor], [], [], _LOOK_EVERY)
        if ready:
            return os.read(descriptor, CHUNK)
