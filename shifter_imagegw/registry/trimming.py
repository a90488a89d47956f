# SPDX-License-Identifier: BSD-3-Clause
"""How the blob cache stays within its bound: what was used least recently goes first.

Whoever uses a blob holds a shared lock on its file, whoever downloads one an exclusive lock on the
partial file; what is locked stays. Only files are removed that have the names this cache gives.
"""

from __future__ import annotations

import contextlib
import dataclasses
import errno
import fcntl
import os
import re
import stat
import time
from collections.abc import Iterator
from pathlib import Path

_NAME = re.compile(r"[0-9a-f]{64}(?P<partial>\.partial)?")

# What a pull that failed has fetched is of use to the next one, which will not come much later.
_PARTIALS_KEPT = 6 * 3600.0  # seconds


@dataclasses.dataclass(frozen=True, kw_only=True)
class TrimReport:
    """What is left in the cache, and what was removed from it."""

    blobs: int = 0
    bytes: int = 0
    removed_blobs: int = 0
    removed_bytes: int = 0


@dataclasses.dataclass(frozen=True, kw_only=True)
class _Blob:
    path: Path
    size: int
    used: float
    is_partial: bool


def trim(directory: Path, limit: int | None, now: float | None = None) -> TrimReport:
    """Remove old partial files, and as many blobs as it takes to be within `limit` bytes.

    Does nothing, and reports nothing, while another process does the same. Raises OSError where
    the directory cannot be read.
    """
    with _only_one(directory) as is_first:
        return _trim(directory, limit, time.time() if now is None else now, is_first)


def size_of(directory: Path) -> TrimReport:
    """What the cache takes now."""
    blobs = _blobs_in(directory)
    return TrimReport(blobs=len(blobs), bytes=sum(blob.size for blob in blobs))


def _trim(directory: Path, limit: int | None, now: float, is_first: bool) -> TrimReport:
    if not is_first:
        return TrimReport()
    blobs = sorted(_blobs_in(directory), key=lambda blob: blob.used)
    total = sum(blob.size for blob in blobs)
    removed = []
    for blob in blobs:
        is_old_partial = blob.is_partial and now - blob.used > _PARTIALS_KEPT
        is_too_much = limit is not None and total > limit
        if (is_old_partial or is_too_much) and _removed(blob.path):
            total -= blob.size
            removed.append(blob)
    return TrimReport(
        blobs=len(blobs) - len(removed),
        bytes=total,
        removed_blobs=len(removed),
        removed_bytes=sum(blob.size for blob in removed),
    )


def _blobs_in(directory: Path) -> list[_Blob]:
    try:
        names = os.listdir(directory)
    except FileNotFoundError:
        return []
    found = (_blob_at(directory / name) for name in names)
    return [blob for blob in found if blob is not None]


def _blob_at(path: Path) -> _Blob | None:
    matched = _NAME.fullmatch(path.name)
    if matched is None:
        return None
    try:
        status = path.lstat()
    except FileNotFoundError:
        return None
    if not stat.S_ISREG(status.st_mode):
        return None
    is_partial = matched["partial"] is not None
    # A use is noted as the time of access (`BlobCache`); a partial file is used by writing it.
    used = status.st_mtime if is_partial else max(status.st_atime, status.st_mtime)
    return _Blob(path=path, size=status.st_size, used=used, is_partial=is_partial)


def _removed(path: Path) -> bool:
    """Remove a file unless somebody holds it; whether it was removed."""
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW)
    except OSError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if not os.path.samestat(os.lstat(path), os.fstat(descriptor)):
            return False  # a partial file that was just renamed, and began anew
        os.unlink(path)
    except OSError:
        return False
    finally:
        os.close(descriptor)
    return True


@contextlib.contextmanager
def _only_one(directory: Path) -> Iterator[bool]:
    """Whether no other process is at it; the lock is on the directory, so it leaves no file."""
    try:
        descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except FileNotFoundError:
        yield True
        return
    try:
        yield _is_locked(descriptor)
    finally:
        os.close(descriptor)


def _is_locked(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError as error:
        # NFS locks no directories. Two at once would only both remove the oldest.
        return error.errno in (errno.EBADF, errno.ENOLCK, errno.EINVAL, errno.EOPNOTSUPP)
    return True
