# SPDX-License-Identifier: BSD-3-Clause
"""Files and directories that are on disk when a call returns, and removed whole."""

from __future__ import annotations

import contextlib
import os
import stat
import time
from collections.abc import Iterator
from pathlib import Path

from shifter_imagegw.errors import DeliveryError
from shifter_imagegw.run import run

# Of the gateway's account only: users reach an image through the runtime, which asks its ACL.
FILE_MODE = 0o600
DIRECTORY_MODE = 0o700

_ENTERED = stat.S_IRUSR | stat.S_IXUSR

_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW
_NEW_FILE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW


def create(path: Path) -> int:
    """Make an empty file; the descriptor is open for writing."""
    return os.open(path, _NEW_FILE, FILE_MODE)


def write(path: Path, content: bytes) -> None:
    """Make a file that is on disk."""
    with open(create(path), "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def sync(path: Path) -> None:
    """Have a file, or the names in a directory, on disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def sync_tree(path: Path) -> None:
    """Have everything below a directory on disk: one call for its filesystem, not one a file."""
    run(["sync", "--file-system", path], failing=DeliveryError, package="coreutils")


def size_of(path: Path) -> int:
    """Bytes of a file, or of all files below a directory."""
    if not path.is_dir():
        return path.stat().st_size
    here = os.open(path, _DIRECTORY)
    try:
        total, below = _scan(here)
        # One descriptor and no recursion, however deep a tree is: images may be hostile.
        waiting = [below]
        while waiting:
            if waiting[-1]:
                here = _moved(here, waiting[-1].pop())
                size, below = _scan(here)
                total += size
                waiting.append(below)
            else:
                waiting.pop()
                if waiting:
                    here = _moved(here, "..")
    finally:
        os.close(here)
    return total


def _scan(directory: int) -> tuple[int, list[str]]:
    """Bytes of the files in a directory, and the names of the directories in it.

    Those are left out that an image forbids its owner to enter: their size is not to be had.
    """
    size, below = 0, []
    with os.scandir(directory) as entries:
        for entry in entries:
            if entry.is_dir(follow_symlinks=False):
                if entry.stat(follow_symlinks=False).st_mode & _ENTERED == _ENTERED:
                    below.append(entry.name)
            elif entry.is_file(follow_symlinks=False):
                size += entry.stat(follow_symlinks=False).st_size
    return size, below


def _moved(here: int, name: str) -> int:
    """Go to a directory in, or above, the one that `here` is; that is closed."""
    there = os.open(name, _DIRECTORY, dir_fd=here)
    os.close(here)
    return there


def age_of(found: os.stat_result) -> float:
    """Seconds since a file was written, or a directory put in place: its times are the image's."""
    written = found.st_ctime if stat.S_ISDIR(found.st_mode) else found.st_mtime
    return time.time() - written


def remove(path: Path) -> None:
    """Take a file, or a directory with all in it, away; no complaint if it is not there."""
    try:
        is_directory = stat.S_ISDIR(path.lstat().st_mode)
    except FileNotFoundError:
        return
    if not is_directory:
        path.unlink(missing_ok=True)
        return
    # These go down by descriptor, through no link, and however deep a tree is. An image may hold
    # directories that not even their owner may change.
    run(["chmod", "--recursive", "u+rwX", path], failing=DeliveryError, package="coreutils")
    run(["rm", "--recursive", "--force", path], failing=DeliveryError, package="coreutils")


def rename_if_there(path: Path, name: Path) -> None:
    with contextlib.suppress(FileNotFoundError):
        os.rename(path, name)


def put_back(aside: Path, path: Path) -> None:
    """Give a file or directory its name again, unless another has it by now."""
    if aside.is_dir():
        if not path.exists():
            rename_if_there(aside, path)
    else:
        with contextlib.suppress(FileExistsError, FileNotFoundError):
            os.link(aside, path)
    remove(aside)


@contextlib.contextmanager
def removed_on_failure(path: Path) -> Iterator[None]:
    try:
        yield
    except BaseException:
        with contextlib.suppress(OSError, DeliveryError):
            remove(path)
        raise
