# SPDX-License-Identifier: BSD-3-Clause
"""A tar stream becomes a squashfs file."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import BinaryIO, TypeVar, cast

from shifter_imagegw.errors import ConversionError
from shifter_imagegw.flatten import StreamSpoiledError
from shifter_imagegw.run import feed

T = TypeVar("T")

_MAGIC = b"hsqs"
_BYTES_USED = slice(40, 48)  # of the superblock: the size that the image says to have

_COMPRESSORS = ("gzip", "lz4", "lzo", "xz", "zstd")
_HAVE_LEVELS = ("gzip", "lzo", "zstd")
_JOBS_MAX = 16
_BACKLOG = 64  # blocks read ahead: evens out small and large files, at the price of 8 MiB
_QUICKEST = 1  # of zstd: packing is what a pull waits for, and level 3 saves but one twentieth
_PROBE = 4 << 20  # bytes; more than the tool writes at once
# Options of mksquashfs that say what holds here anyway.
_ALWAYS_SO = frozenset(
    ("-all-root", "-root-owned", "-no-xattrs", "-noappend", "-no-progress", "-quiet")
)


@dataclasses.dataclass(frozen=True, kw_only=True)
class SquashfsOptions:
    """How to pack.

    Measured on 731 MB in 40,000 entries, seconds of processor time of tar2sqfs and size:
    zstd 3: 2.7 s, 192 MB; zstd 2: 2.3 s, 196 MB; zstd 1: 2.0 s, 201 MB; lz4: 1.4 s, 256 MB.
    Blocks of 256 KiB save 3 % and make each small read from the image unpack twice as much.
    """

    compressor: str = "zstd"
    level: int | None = None
    block_size: int = 128 << 10  # bytes
    jobs: int = 0  # threads that compress; 0: one for each processor, up to what can be fed

    @classmethod
    def from_mksquashfs(cls, arguments: Sequence[str]) -> SquashfsOptions:
        """Read the site's `ConverterOptions`, which are those of mksquashfs."""
        options: dict[str, str | int] = {}
        rest = iter(arguments)
        for argument in rest:
            if argument in _ALWAYS_SO:
                continue
            if argument == "-comp":
                options["compressor"] = _one_of(_COMPRESSORS, argument, rest)
            elif argument == "-Xcompression-level":
                options["level"] = _integer(argument, rest)
            elif argument == "-b":
                options["block_size"] = _integer(argument, rest)
            elif argument == "-processors":
                options["jobs"] = _integer(argument, rest)
            else:
                raise ConversionError(
                    f"ConverterOptions.squashfs holds {argument!r}, which is not understood; known"
                    " are -comp, -Xcompression-level, -b, -processors and -no-xattrs"
                )
        return cls(**options)  # type: ignore[arg-type]

    def arguments(self) -> list[str]:
        """Say the same to tar2sqfs."""
        level = _QUICKEST if self.level is None and self.compressor == "zstd" else self.level
        arguments = [
            f"--compressor={self.compressor}",
            f"--block-size={self.block_size}",
            f"--num-jobs={self.jobs or min(_JOBS_MAX, len(os.sched_getaffinity(0)))}",
            f"--queue-backlog={_BACKLOG}",
        ]
        if level is not None and self.compressor in _HAVE_LEVELS:
            arguments.append(f"--comp-extra=level={level}")
        return arguments


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
        options = SquashfsOptions.from_mksquashfs(options)
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
    image.unlink(missing_ok=True)
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
    try:
        return cast("BinaryIO", image.open("xb", buffering=0))
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


def _one_of(choices: Sequence[str], option: str, rest: Iterator[str]) -> str:
    value = next(rest, "")
    if value not in choices:
        raise ConversionError(
            f"ConverterOptions.squashfs: {option} must be one of {', '.join(choices)},"
            f" not {value!r}"
        )
    return value


def _integer(option: str, rest: Iterator[str]) -> int:
    value = next(rest, "")
    factor = {"K": 1 << 10, "M": 1 << 20}.get(value[-1:].upper(), 1)
    digits = value[:-1] if factor > 1 else value
    if not digits.isdecimal():
        raise ConversionError(
            f"ConverterOptions.squashfs: {option} must be a number, not {value!r}"
        )
    return int(digits) * factor
