# SPDX-License-Identifier: BSD-3-Clause
"""Blobs on the gateway's disk: each is downloaded once, whole, and verified."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import hashlib
import os
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

from shifter_imagegw.registry.client import RegistryClient
from shifter_imagegw.registry.download import Download
from shifter_imagegw.registry.errors import RegistryError
from shifter_imagegw.registry.manifest import Descriptor
from shifter_imagegw.registry.name import is_digest
from shifter_imagegw.registry.retry import require_wanted

_CHUNK = 1 << 20  # bytes
_LOCK_POLL = 0.1  # seconds
_FULL = frozenset({errno.ENOSPC, errno.EDQUOT})


class BlobCache:
    """Verified blobs below `directory`, shared by any number of processes and threads.

    A download goes to `<hex>.partial`, whose lock says who is at it, and is renamed when its
    digest is right. Nothing is synced to disk: what a power cut spoils is found out by the next
    use, because a blob is hashed (about 1 GB/s, in the thread that would have downloaded it)
    unless this process has done so already and the file has not changed since.
    """

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self._verified: dict[str, tuple[int, int, int]] = {}

    def path(self, digest: str) -> Path:
        """Where the blob is, or will be. Raises RegistryError for anything but a sha256 digest."""
        if not is_digest(digest):
            raise RegistryError(f"{digest[:80]!r} is no sha256 digest")
        return self.directory / "sha256" / digest.removeprefix("sha256:")

    def fetch(
        self,
        client: RegistryClient,
        repository: str,
        descriptor: Descriptor,
        progress: Callable[[int], None] | None = None,
        *,
        stop: threading.Event | None = None,
    ) -> Path:
        """The blob's file, downloaded if need be.

        `progress` gets bytes as they are at hand, cached ones too; negative ones where a download
        begins anew. In the end it has got `descriptor.size` in all. When `stop` is set,
        FetchCancelledError is raised and what came so far is kept.
        """
        path = self.path(descriptor.digest)
        report = progress or _ignore
        stop = stop or threading.Event()
        with self._failures_named():
            path.parent.mkdir(parents=True, exist_ok=True)
            if not self._is_good(path, descriptor, stop):
                with _locked_partial(path, stop) as partial:
                    # Whoever held the lock before us may have brought the blob.
                    if not self._is_good(path, descriptor, stop):
                        Download(client, repository, descriptor, partial, report, stop).run()
                        os.rename(_partial_path(path), path)
                        self._verified[descriptor.digest] = _identity(path.stat())
                        return path
            report(descriptor.size)
        return path

    def _is_good(self, path: Path, descriptor: Descriptor, stop: threading.Event) -> bool:
        """Whether the blob is there, with the right content."""
        try:
            file = path.open("rb", buffering=0)
        except FileNotFoundError:
            return False
        with file:
            status = os.fstat(file.fileno())
            if status.st_size != descriptor.size:
                return False
            identity = _identity(status)
            if self._verified.get(descriptor.digest) == identity:
                return True
            is_right = f"sha256:{_sha256(file.fileno(), stop)}" == descriptor.digest
        if is_right:
            self._verified[descriptor.digest] = identity
        return is_right

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
            if not _lock(descriptor) or not _is_file_at(partial, descriptor):
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


def _lock(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
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
    return (status.st_ino, status.st_size, status.st_ctime_ns)


def _partial_path(path: Path) -> Path:
    return path.with_name(f"{path.name}.partial")


def _ignore(_: int) -> None:
    pass
