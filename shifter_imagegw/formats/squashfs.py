# SPDX-License-Identifier: BSD-3-Clause
"""A tar stream becomes a squashfs file."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import BinaryIO, TypeVar, cast

from shifter_imagegw.errors import ConversionError
from shifter_imagegw.flatten import StreamSpoiledError
from shifter_imagegw.formats import mksquashfs
from shifter_imagegw.formats.mksquashfs import SquashfsOptions
from shifter_imagegw.run import feed

T = TypeVar("T")

_MAGIC = b"hsqs"
_BYTES_USED = slice(40, 48)  # of the superblock: the size that the image says to have
_EMPTY_FILE = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC
_PROBE = 4 << 20  # bytes; more than the tool writes at once


def is_cut_short(image: Path) -> bool:
    """Whether a file is empty, or less of a squashfs than its first bytes say.

    That is what a copy that broke off leaves, or a filesystem that lost the end of a file.
    """
    with image.open("rb") as file:
        start = file.read(_BYTES_USED.stop)
        size = os.fstat(file.fileno()).st_size
    if not start.startswith(_MAGIC):
        return not start
    return size < max(_BYTES_USED.stop, int.from_bytes(start[_BYTES_USED], "little"))


def make(
    write_tar: Callable[[BinaryIO], T],
    image: Path,
    options: SquashfsOptions | Sequence[str] = SquashfsOptions(),  # noqa: B008 - immutable
) -> T:
    """Pack the tar stream that `write_tar` writes into a squashfs file at `image`.

    The same stream makes the same bytes, whenever and wherever. The file is there only if all
    went well; it is not yet synced. Gives what `write_tar` gives.
    """
    if not isinstance(options, SquashfsOptions):
        options = mksquashfs.parse(options)
    command = [
        "tar2sqfs",
        "--quiet",
        "--force",
        "--no-skip",  # fail rather than leave out what it cannot read
        "--no-xattr",
        "--defaults=uid=0,gid=0,mode=0755,mtime=0",
        *options.arguments(),
        str(image),
    ]
    try:
        # The tool says "I/O error" whatever the reason, and removes the file, which gives the
        # space back. While it is held open here, the filesystem can still be asked.
        with _created(image) as held:
            try:
                return _feed(command, write_tar)
            except StreamSpoiledError as error:
                return cast("T", _feed(command, error.write_again))
            except ConversionError as error:
                _raise_if_full(held, image, error)
                raise
    except BaseException:
        image.unlink(missing_ok=True)
        raise


def _feed(command: list[str], write_tar: Callable[[BinaryIO], T]) -> T:
    return feed(command, write_tar, failing=ConversionError, package="squashfs-tools-ng")


def _created(image: Path) -> BinaryIO:
    """The empty file; one that is there is kept, for it may be laid out as the site wants it."""
    try:
        return cast("BinaryIO", open(os.open(image, _EMPTY_FILE, 0o600), "wb", buffering=0))
    except OSError as error:
        raise ConversionError(f"cannot create {image}: {error.strerror}") from error


def _raise_if_full(held: BinaryIO, image: Path, failure: ConversionError) -> None:
    """Give the filesystem's own reason (disk full, quota, file too large) if it has one."""
    end = os.fstat(held.fileno()).st_size
    try:
        for _ in range(2):  # the first may fit in part
            end += os.pwrite(held.fileno(), bytes(_PROBE), end)
    except OSError as error:
        raise ConversionError(f"cannot write {image}: {error.strerror} ({failure})") from error
