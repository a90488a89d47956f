# SPDX-License-Identifier: BSD-3-Clause
"""Blobs on the gateway's disk: each is downloaded once, whole, and verified."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import hashlib
import os
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeVar

from shifter_imagegw.registry.client import RegistryClient
from shifter_imagegw.registry.download import Download
from shifter_imagegw.registry.errors import RegistryError
from shifter_imagegw.registry.manifest import Descriptor
from shifter_imagegw.registry.name import is_digest
from shifter_imagegw.registry.retry import require_wanted
from shifter_imagegw.registry.trimming import TrimReport, size_of, trim

T = TypeVar("T")

_CHUNK = 1 << 20  # bytes
_LOCK_POLL = 0.1  # seconds
_FULL = frozenset({errno.ENOSPC, errno.EDQUOT})


class Holds:
    """Blobs that must stay in the cache until this is closed, or its process ends."""

    def __init__(self) -> None:
        self._descriptors: list[int] = []
        self._changing = threading.Lock()

    def add(self, descriptor: int) -> None:
        """Take over a descriptor whose file is locked."""
        with self._changing:
            self._descriptors.append(descriptor)

    def close(self) -> None:
        with self._changing:
            descriptors, self._descriptors = self._descriptors, []
        for descriptor in descriptors:
            os.close(descriptor)


class BlobCache:
    """Verified blobs below `directory`, shared by any number of processes and threads.

    A download goes to `<hex>.partial`, whose lock says who is at it, and is renamed when its
    digest is right. Nothing is synced to disk: what a power cut spoils is found out by the next
    use, because a blob is hashed (about 1 GB/s, in the thread that would have downloaded it)
    unless this process has done so already and the file has not changed since.

    Each use is noted as the file's time of access, whatever the filesystem itself makes of that;
    the time of change stays as it is, because it says whether the content is what was hashed.
    """

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self._verified: dict[str, tuple[int, int, int]] = {}

    def path(self, digest: str) -> Path:
        """Where the blob is, or will be. Raises RegistryError for anything but a sha256 digest."""
        if not is_digest(digest):
            raise RegistryError(f"{digest[:80]!r} is no sha256 digest")
        return self._blobs / digest.removeprefix("sha256:")

    def fetch(
        self,
        client: RegistryClient,
        repository: str,
        descriptor: Descriptor,
        progress: Callable[[int], None] | None = None,
        *,
        stop: threading.Event | None = None,
        holds: Holds | None = None,
    ) -> Path:
        """The blob's file, downloaded if need be; it stays there as long as `holds` is open.

        `progress` gets bytes as they are at hand, cached ones too; negative ones where a download
        begins anew. In the end it has got `descriptor.size` in all. When `stop` is set,
        FetchCancelledError is raised and what came so far is kept.
        """
        path = self.path(descriptor.digest)
        report = progress or _ignore
        stop = stop or threading.Event()

        def download() -> int:
            with _locked_partial(path, stop) as partial:
                # Whoever held the lock before us may have brought the blob.
                if self._hold(path, descriptor, stop, None):
                    return 0
                Download(client, repository, descriptor, partial, report, stop).run()
                os.rename(_partial_path(path), path)
                self._verified[descriptor.digest] = _identity(path.stat())
            return descriptor.size

        reported = 0
        with self._failures_named():
            path.parent.mkdir(parents=True, exist_ok=True)
            while not self._hold(path, descriptor, stop, holds):
                if reported:  # and trimmed away again before it was held
                    report(-reported)
                reported = self._with_room_for(descriptor.size, download)
            if not reported:
                client.require_blob(repository, descriptor.digest, stop)
                report(descriptor.size)
        return path

    def trim(self, limit: int | None) -> TrimReport:
        """Remove what was used least recently until the cache takes no more than `limit` bytes."""
        with self._failures_named():
            return trim(self._blobs, limit)

    def size(self) -> TrimReport:
        """What the cache takes now."""
        with self._failures_named():
            return size_of(self._blobs)

    @property
    def _blobs(self) -> Path:
        return self.directory / "sha256"

    def _with_room_for(self, size: int, download: Callable[[], T]) -> T:
        """Do `download`, once more where the disk is full and something could be removed."""
        try:
            return download()
        except OSError as error:
            if error.errno not in _FULL:
                raise
            taken = size_of(self._blobs).bytes
            if not trim(self._blobs, max(0, taken - size)).removed_bytes:
                raise
        return download()

    def _hold(
        self, path: Path, descriptor: Descriptor, stop: threading.Event, holds: Holds | None
    ) -> bool:
        """Whether the blob is there with the right content; then it is held, and its use noted."""
        try:
            file = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
        except FileNotFoundError:
            return False
        is_held = False
        try:
            while not _lock(file, fcntl.LOCK_SH):
                stop.wait(_LOCK_POLL)
                require_wanted(stop)
            if _is_file_at(path, file) and self._is_good(file, descriptor, stop):
                is_held = True
                with contextlib.suppress(OSError):  # of another account, or on a full disk
                    os.utime(file, ns=(time.time_ns(), os.fstat(file).st_mtime_ns))
        finally:
            if is_held and holds is not None:
                holds.add(file)
            else:
                os.close(file)
        return is_held

    def _is_good(self, file: int, descriptor: Descriptor, stop: threading.Event) -> bool:
        status = os.fstat(file)
        if status.st_size != descriptor.size:
            return False
        identity = _identity(status)
        if self._verified.get(descriptor.digest) == identity:
            return True
        if f"sha256:{_sha256(file, stop)}" != descriptor.digest:
            return False
        self._verified[descriptor.digest] = identity
        return True

    @contextlib.contextmanager
    def _failures_named(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            if error.errno in _FULL:
                raise RegistryError(
                    f"the blob cache {self.directory} is full: free space on its filesystem"
                ) from error
            raise RegistryError(
                f"the blob cache {self.directory} cannot be used: {error.strerror or error}"
            ) from error


@contextlib.contextmanager
def _locked_partial(path: Path, stop: threading.Event) -> Iterator[int]:
    """The partial file of a blob as a descriptor, once nobody else holds it; never left empty."""
    partial = _partial_path(path)
    while True:
        require_wanted(stop)
        descriptor = os.open(partial, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o644)
        try:
            if not _lock(descriptor, fcntl.LOCK_EX) or not _is_file_at(partial, descriptor):
                stop.wait(_LOCK_POLL)
                continue
            try:
                yield descriptor
            finally:
                if os.fstat(descriptor).st_size == 0 and _is_file_at(partial, descriptor):
                    partial.unlink()
            return
        finally:
            os.close(descriptor)


def _lock(descriptor: int, kind: int) -> bool:
    try:
        fcntl.flock(descriptor, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _is_file_at(path: Path, descriptor: int) -> bool:
    """Whether `descriptor` is still what `path` names: its last owner may have renamed it."""
    try:
        return os.path.samestat(os.stat(path), os.fstat(descriptor))
    except FileNotFoundError:
        return False


def _sha256(descriptor: int, stop: threading.Event) -> str:
    digest = hashlib.sha256()
    buffer = memoryview(bytearray(_CHUNK))
    while count := os.readv(descriptor, [buffer]):
        require_wanted(stop)
        digest.update(buffer[:count])
    return digest.hexdigest()


def _identity(status: os.stat_result) -> tuple[int, int, int]:
    """Changes whenever the file's content does."""
    return (status.st_ino, status.st_size, status.st_mtime_ns)


def _partial_path(path: Path) -> Path:
    return path.with_name(f"{path.name}.partial")


def _ignore(_: int) -> None:
    pass
