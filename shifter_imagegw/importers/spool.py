# SPDX-License-Identifier: BSD-3-Clause
"""Private copies of what users name, so that what was checked is what is used.

The user may change a file at any moment, and with it the content that a digest stands for. The
copies lie in the cache's directory without a name: nobody else can open them, and they are gone
with the worker, however it ends.
"""

from __future__ import annotations

import hashlib
import os
import tempfile
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path, PosixPath

from shifter_imagegw.config import GatewayConfig
from shifter_imagegw.errors import PullError
from shifter_imagegw.flatten import Limits
from shifter_imagegw.flatten.limits import Budget
from shifter_imagegw.flatten.stream import CHUNK, LayerStream
from shifter_imagegw.pulling.lease import Lease


class SpooledPath(PosixPath):
    """The path of a copy, which has but a number, with a name for error texts."""

    shown = ""

    @property
    def name(self) -> str:
        return self.shown


class Copy:
    """One private copy."""

    def __init__(self, descriptor: int, digest: str, shown: str) -> None:
        self.descriptor = descriptor
        self.digest = digest  # `sha256:…`
        self.size = os.fstat(descriptor).st_size
        self.path: Path = SpooledPath(f"/proc/self/fd/{descriptor}")
        self.path.shown = shown


class Spool:
    """Makes copies, all of them together no larger than an image may be; close it at the end."""

    def __init__(self, config: GatewayConfig, lease: Lease) -> None:
        self._directory = config.cache_directory
        self._limit = config.limits.image_bytes
        self._left = self._limit
        self._lease = lease
        self._descriptors: list[int] = []

    def close(self) -> None:
        while self._descriptors:
            os.close(self._descriptors.pop())

    def require_room(self, size: int, shown: str) -> None:
        if size > self._left:
            raise PullError(
                f"cannot import {shown}: it is larger than the {self._limit} bytes that an image"
                " may have here (MaxImageSize)"
            )

    def copy(self, pieces: Iterable[bytes], shown: str) -> Copy:
        """Copy what `pieces` give; `shown` names it in errors."""
        digest = hashlib.sha256()
        descriptor = self._create()
        for piece in pieces:
            self.require_room(len(piece), shown)
            self._left -= len(piece)
            digest.update(piece)
            _write(descriptor, piece, self._directory)
            self._lease.add_bytes(len(piece))
        return Copy(descriptor, f"sha256:{digest.hexdigest()}", shown)

    def _create(self) -> int:
        try:
            self._directory.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryFile(dir=self._directory, buffering=0) as file:
                descriptor = os.dup(file.fileno())
        except OSError as error:
            raise _unusable(self._directory, error) from error
        self._descriptors.append(descriptor)
        return descriptor


def pieces_of(descriptor: int, offset: int = 0, size: int | None = None) -> Iterator[bytes]:
    """Bytes of a file from `offset` on: `size` of them, or all."""
    while size is None or size > 0:
        piece = os.pread(descriptor, CHUNK if size is None else min(size, CHUNK), offset)
        if not piece:
            return
        offset += len(piece)
        if size is not None:
            size -= len(piece)
        yield piece


def unpacked(path: Path, limits: Limits, keep_going: Callable[[], None]) -> Iterator[bytes]:
    """What a compressed file holds, within the limits that hold for layers."""
    stream = LayerStream(lambda: path, Budget(limits))
    stream.start()
    try:
        while piece := stream.take(CHUNK):
            keep_going()
            yield piece
    finally:
        stream.close()


def _write(descriptor: int, data: bytes, directory: Path) -> None:
    rest = memoryview(data)
    while rest:
        try:
            rest = rest[os.write(descriptor, rest) :]
        except OSError as error:
            raise _unusable(directory, error) from error


def _unusable(directory: Path, error: OSError) -> PullError:
    return PullError(
        f"the gateway cannot keep a copy of the import in {os.fspath(directory)!r}:"
        f" {error.strerror}"
    )
