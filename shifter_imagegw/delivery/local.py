# SPDX-License-Identifier: BSD-3-Clause
"""Images on a filesystem that the gateway itself mounts.

A `.meta` file promises that the whole image lies beside it. So the image is renamed into place
before its `.meta`, and on removal the `.meta` goes first: at no moment, and after no crash, does
a runtime that reads `.meta` first find half an image. What is being written has a hidden name
that ends in the worker's own, in the same directory, because only a rename within one filesystem
is atomic, and because the owner of what a crash left behind must be known.
"""

from __future__ import annotations

import contextlib
import os
import re
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from shifter_imagegw.delivery import Partial
from shifter_imagegw.errors import ConversionError, DeliveryError
from shifter_imagegw.formats import squashfs

# Of the gateway's account only: users reach an image through the runtime, which asks its ACL.
_FILE_MODE = 0o600
_NEW_FILE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW

_NEXT_TO_NOTHING = 1 << 20  # bytes: the largest block that a converter writes at once

_PARTIAL_NAME = re.compile(r"\.[0-9a-f]{64}\.[a-z0-9]+\.(?P<worker>.+)\.partial")


class LocalDelivery:
    """The image directory (`imageDir`) of one system."""

    def __init__(self, system: str, directory: Path) -> None:
        self._system = system
        self._directory = directory

    def require_usable(self) -> None:
        if not self._directory.is_dir():
            raise self._error("is no directory: create it, owned by the gateway's account")
        if not os.access(self._directory, os.R_OK | os.W_OK | os.X_OK):
            raise self._error("cannot be written by the gateway's account: change its owner")

    @contextlib.contextmanager
    def staging(self, image_id: str, format: str, worker: str) -> Iterator[Path]:
        self.require_usable()
        path = self._partial(image_id, format, worker)
        with self._explained("write to"):
            path.unlink(missing_ok=True)
            descriptor = os.open(path, _NEW_FILE, _FILE_MODE)
        try:
            yield path
        except ConversionError as error:
            # A converter says "I/O error" at most. What it has written, though removed, takes up
            # its space as long as the file is open here.
            if _is_full(descriptor):
                raise self._error("is full: free some space, or expire images") from error
            raise
        finally:
            os.close(descriptor)
            path.unlink(missing_ok=True)

    def deliver(
        self,
        staged: Path,
        image_id: str,
        format: str,
        worker: str,
        metadata: str,
        confirm: Callable[[], None],
    ) -> int:
        with self._explained("write to"):
            os.chmod(staged, _FILE_MODE)
            _sync(staged)
            size = staged.stat().st_size
        confirm()
        with self._explained("write to"):
            os.rename(staged, self._final(image_id, format))
        self.deliver_metadata(image_id, worker, metadata)
        return size

    def deliver_metadata(self, image_id: str, worker: str, metadata: str) -> None:
        partial = self._partial(image_id, "meta", worker)
        with self._explained("write to"), _unlinked_on_failure(partial):
            partial.unlink(missing_ok=True)
            _write(partial, metadata.encode())
            # The image's own rename has to be on disk before a .meta vouches for it.
            _sync(self._directory)
            os.rename(partial, self._final(image_id, "meta"))
            _sync(self._directory)

    def is_delivered(self, image_id: str, format: str) -> bool:
        if not all(self._final(image_id, suffix).is_file() for suffix in ("meta", format)):
            return False
        with self._explained("read"):
            return not squashfs.is_cut_short(self._final(image_id, format))

    def size(self, image_id: str, format: str) -> int:
        with self._explained("read"):
            return self._final(image_id, format).stat().st_size

    def remove(self, image_id: str, format: str) -> None:
        with self._explained("remove an image from"):
            for suffix in ("meta", format):
                self._final(image_id, suffix).unlink(missing_ok=True)
                _sync(self._directory)

    def partials(self) -> list[Partial]:
        with self._explained("read"):
            names = os.listdir(self._directory)
        found = (_partial_of(self._directory / name) for name in names)
        return [partial for partial in found if partial is not None]

    def discard(self, partial: Partial) -> None:
        with self._explained("remove what a dead worker left in"):
            partial.path.unlink(missing_ok=True)

    def _final(self, image_id: str, suffix: str) -> Path:
        return self._directory / f"{image_id}.{suffix}"

    def _partial(self, image_id: str, suffix: str, worker: str) -> Path:
        return self._directory / f".{image_id}.{suffix}.{worker}.partial"

    @contextlib.contextmanager
    def _explained(self, what: str) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise DeliveryError(
                f"cannot {what} {os.fspath(self._directory)!r}, the image directory of system "
                f"{self._system!r}: {error.strerror}"
            ) from error

    def _error(self, problem: str) -> DeliveryError:
        return DeliveryError(
            f"{os.fspath(self._directory)!r}, the image directory of system {self._system!r}, "
            f"{problem}"
        )


def _partial_of(path: Path) -> Partial | None:
    """What is known of a partial file; None for any other, and for one that is just gone."""
    match = _PARTIAL_NAME.fullmatch(path.name)
    if match is None:
        return None
    try:
        written = path.lstat().st_mtime
    except FileNotFoundError:
        return None
    return Partial(path=path, worker=match["worker"], age=time.time() - written)


def _is_full(descriptor: int) -> bool:
    filesystem = os.fstatvfs(descriptor)
    return filesystem.f_bavail * filesystem.f_frsize < _NEXT_TO_NOTHING


def _write(path: Path, content: bytes) -> None:
    descriptor = os.open(path, _NEW_FILE, _FILE_MODE)
    with open(descriptor, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(descriptor)


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def _unlinked_on_failure(path: Path) -> Iterator[None]:
    try:
        yield
    except BaseException:
        with contextlib.suppress(OSError):
            path.unlink(missing_ok=True)
        raise
