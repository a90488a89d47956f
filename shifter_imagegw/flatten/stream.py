# SPDX-License-Identifier: BSD-3-Clause
"""A layer as a stream of unpacked bytes, read ahead by a thread of its own.

The decompressors leave the interpreter's lock while they work, so that unpacking runs beside
the merge and beside the program that reads the merged stream.
"""

from __future__ import annotations

import bz2
import collections
import io
import lzma
import os
import threading
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, Protocol, cast

import zstandard
from isal import igzip, isal_zlib

from shifter_imagegw.flatten import tar_header, zstd_frames
from shifter_imagegw.flatten.errors import (
    LayerError,
    TruncatedLayerError,
    UnknownCompressionError,
)
from shifter_imagegw.flatten.limits import Budget
from shifter_imagegw.flatten.xz import XzReader

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

CHUNK = 1 << 20  # bytes handed over at once
_CHUNKS_AHEAD = 4
_ZSTD_WINDOW = 128 << 20  # what `zstd --long=27`, the largest default, needs
_MUCH_MEMORY = 16 << 20  # bytes; `zstd -19` asks for 8 MiB
_PULSE = 1.0  # seconds between two signs of life while nothing comes

_BROKEN: tuple[type[Exception], ...] = (
    cast("type[Exception]", isal_zlib.error),  # its stubs say otherwise
    zlib.error,
    lzma.LZMAError,
    zstandard.ZstdError,
    igzip.BadGzipFile,
    OverflowError,  # a gzip header that never ends
)


class Reader(Protocol):
    def read(self, size: int, /) -> bytes: ...

    def close(self) -> None: ...


class _Blob(io.FileIO):
    """A layer's file, which stops a decompressor where it asks for more that nobody wants."""

    def __init__(self, path: Path, is_wanted: Callable[[], bool]) -> None:
        super().__init__(path, "rb")
        self._is_wanted = is_wanted

    def read(self, size: int | None = -1, /) -> bytes:
        self._require_wanted()
        return super().read(-1 if size is None else size) or b""

    def readinto(self, buffer: WriteableBuffer, /) -> int:
        self._require_wanted()
        return super().readinto(buffer) or 0

    def _require_wanted(self) -> None:
        if not self._is_wanted():
            raise zstd_frames.NotWantedError


class LayerStream:
    """The unpacked bytes of one layer, for one reader."""

    def __init__(self, layer: Callable[[], Path], budget: Budget) -> None:
        self.name = "?"
        self.size = 0  # bytes of the blob; known once something was read
        self.packed_read = 0  # bytes of the blob behind what was handed out so far
        self._budget = budget
        self._layer = layer
        self._chunk = b""
        self._view = memoryview(self._chunk)
        self._position = 0
        self._unpacked = 0
        self._queue: collections.deque[tuple[bytes, int] | BaseException] = collections.deque()
        self._filled = threading.Semaphore(0)
        self._free = threading.Semaphore(_CHUNKS_AHEAD)
        self._closed = False
        self._is_asked_for = threading.Event()
        self._is_downloaded = False
        self._thread = threading.Thread(target=self._read_ahead, daemon=True)

    def start(self) -> None:
        self._thread.start()

    def close(self) -> None:
        """Stop reading; a thread that still waits for its download ends when that does."""
        self._closed = True
        self._free.release()
        self._is_asked_for.set()
        if self._is_downloaded:
            self._thread.join()
        self._queue.clear()

    def take(self, size: int) -> bytes:
        """Give the next `size` bytes, fewer only where the layer ends. For small sizes."""
        end = self._position + size
        if end <= len(self._chunk):
            taken = self._chunk[self._position : end]
            self._position = end
            return taken
        return b"".join(self._available(size))

    def pieces(self, size: int, entry: Callable[[], str]) -> Iterator[memoryview]:
        """Give exactly `size` bytes, as views on what was unpacked."""
        for piece in self._available(size):
            size -= len(piece)
            yield piece
        if size:
            raise TruncatedLayerError(f"layer {self.name} is truncated: it ends inside {entry()}")

    def skip(self, size: int, entry: Callable[[], str]) -> None:
        for _ in self.pieces(size, entry):
            pass

    def _available(self, size: int) -> Iterator[memoryview]:
        while size:
            if self._position == len(self._chunk) and not self._next_chunk():
                return
            piece = self._view[self._position : self._position + size]
            self._position += len(piece)
            size -= len(piece)
            yield piece

    def _next_chunk(self) -> bool:
        self._is_asked_for.set()
        while not self._filled.acquire(timeout=_PULSE):
            self._budget.pulse()
        item = self._queue.popleft()
        if isinstance(item, BaseException):
            self._queue.append(item)
            self._filled.release()
            raise item
        self._free.release()
        chunk, self.packed_read = item
        if not chunk:
            self._queue.append(item)
            self._filled.release()
            return False
        self._unpacked += len(chunk)
        self._budget.spend_bytes(self.name, len(chunk))
        self._budget.check_expansion(self.name, self.packed_read, self._unpacked)
        self._budget.pulse()
        self._chunk = chunk
        self._view = memoryview(chunk)
        self._position = 0
        return True

    def _read_ahead(self) -> None:
        try:
            path = self._layer()
            self.name = path.name
            self._is_downloaded = True
            self._unpack(path)
        except BaseException as error:  # noqa: BLE001 - raised again in the reader
            self._queue.append(error)
            self._filled.release()

    def _unpack(self, path: Path) -> None:
        with _Blob(path, self._is_wanted) as blob:
            self.size = os.fstat(blob.fileno()).st_size
            reader = self._open_reader(blob)
            while True:
                self._free.acquire()
                if self._closed:
                    return
                chunk = _read(reader, self.name)
                self._queue.append((chunk, blob.tell()))
                self._filled.release()
                if not chunk:
                    return

    def _is_wanted(self) -> bool:
        return not self._closed

    def _open_reader(self, blob: _Blob) -> Reader:
        """Choose by the magic bytes; media types lie."""
        magic = os.pread(blob.fileno(), 512, 0)
        if magic.startswith(b"\x1f\x8b"):
            open_gzip = cast("Callable[[BinaryIO, str], Reader]", igzip.open)  # has no types
            return open_gzip(cast("BinaryIO", blob), "rb")
        if _is_zstd(magic):
            return self._open_zstd(blob)
        if magic.startswith(b"\xfd7zXZ\0"):
            self._is_asked_for.wait()
            return XzReader(cast("BinaryIO", blob))
        if magic.startswith(b"BZh"):
            return bz2.BZ2File(cast("BinaryIO", blob))
        if _is_tar(magic):
            return cast("Reader", blob)
        raise UnknownCompressionError(
            f"layer {self.name} is neither a tar archive nor compressed with gzip, zstd, xz or"
            " bzip2"
        )

    def _open_zstd(self, blob: _Blob) -> Reader:
        frames = zstd_frames.Frames(blob.fileno(), self._is_wanted)
        if not frames.are_whole():
            raise TruncatedLayerError(f"layer {self.name} is truncated or damaged (zstd)")
        # One layer at a time may have much memory, however many are read ahead.
        if frames.largest_window > _MUCH_MEMORY:
            self._is_asked_for.wait()
        decompressor = zstandard.ZstdDecompressor(max_window_size=_ZSTD_WINDOW)
        return cast("Reader", decompressor.stream_reader(blob, 1 << 17, read_across_frames=True))


def _is_zstd(magic: bytes) -> bool:
    return magic.startswith(zstd_frames.FRAME_MAGIC) or zstd_frames.is_skippable(magic[:4].ljust(4))


def _is_tar(magic: bytes) -> bool:
    return (
        not any(magic)  # an empty file, too
        or magic[257:262] == b"ustar"
        or tar_header.has_valid_checksum(magic.ljust(512, b"\0"))
    )


def _read(reader: Reader, name: str) -> bytes:
    try:
        return reader.read(CHUNK)
    except EOFError as error:
        raise TruncatedLayerError(f"layer {name} is truncated: {error}") from error
    except _BROKEN as error:
        raise LayerError(f"layer {name} is damaged: {error}") from error
    except OSError as error:
        raise LayerError(f"layer {name} cannot be read: {error}") from error
