# SPDX-License-Identifier: BSD-3-Clause
"""A tar stream becomes an ext4 filesystem, which any kernel mounts and which nothing compresses.

mke2fs takes no tar stream before version 1.47.1, keeps the times at which files were unpacked,
and wants an unpacked tree owned by root. So the filesystem is written here: no tree on disk, no
root, and the same stream makes the same bytes.
"""

from __future__ import annotations

import contextlib
import dataclasses
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, TypeVar, cast

from shifter_imagegw.errors import ConversionError
from shifter_imagegw.flatten import StreamSpoiledError
from shifter_imagegw.formats import ext4_layout as layout
from shifter_imagegw.formats.ext4_writer import Ext4Writer
from shifter_imagegw.formats.received import receive

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer

T = TypeVar("T")

_BUFFER = 1 << 20  # bytes
_EMPTY_FILE = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC
_LABEL_MAX = 16  # bytes
# Options of mke2fs that say what holds here anyway; those of the second line have a value.
_ALWAYS_SO = frozenset(("-F", "-q", "-v"))
_ALWAYS_SO_WITH = {"-b": ("4096", "4k", "4K"), "-I": ("256",), "-m": None, "-t": ("ext4",),
                   "-O": ("^has_journal", "^metadata_csum"), "-N": None, "-i": None}  # fmt: skip


@dataclasses.dataclass(frozen=True, kw_only=True)
class Ext4Options:
    label: bytes = b""

    @classmethod
    def from_mke2fs(cls, arguments: Sequence[str]) -> Ext4Options:
        """Read the site's `ConverterOptions`, which are those of mke2fs."""
        label = b""
        rest = iter(arguments)
        for argument in rest:
            if argument in _ALWAYS_SO:
                continue
            if argument == "-L":
                label = os.fsencode(next(rest, ""))
                if not 0 < len(label) <= _LABEL_MAX:
                    raise _error(f"-L must have a label of up to {_LABEL_MAX} bytes")
            elif argument in _ALWAYS_SO_WITH:
                _require(argument, next(rest, ""), _ALWAYS_SO_WITH[argument])
            else:
                raise _error(
                    f"{argument!r} is not understood: images are sized to fit, without a journal,"
                    " in blocks of 4096 bytes; known are -L, and -b, -I, -m, -N, -i, -O"
                    " where they say no more than that"
                )
        return cls(label=label)


def make(
    write_tar: Callable[[BinaryIO], T],
    image: Path,
    options: Ext4Options | Sequence[str] = Ext4Options(),  # noqa: B008 - immutable
) -> T:
    """Make an ext4 filesystem of the tar stream that `write_tar` writes; see `squashfs.make`."""
    if not isinstance(options, Ext4Options):
        options = Ext4Options.from_mke2fs(options)
    try:
        try:
            return _made(write_tar, image, options)
        except StreamSpoiledError as error:
            return cast("T", _made(error.write_again, image, options))
    except BaseException:
        image.unlink(missing_ok=True)
        raise


def is_cut_short(image: Path) -> bool:
    """Whether a file is empty, or less of an ext4 than its first bytes say."""
    with image.open("rb") as file:
        start = file.read(2 * layout.SUPERBLOCK_AT)
        size = os.fstat(file.fileno()).st_size
    blocks = layout.blocks_said(start)
    if blocks is None:
        return size < 2 * layout.SUPERBLOCK_AT
    return size < blocks * layout.BLOCK


def _made(write_tar: Callable[[BinaryIO], T], image: Path, options: Ext4Options) -> T:
    out = _Out(image)
    try:
        tree = Ext4Writer(cast("BinaryIO", out), options.label)
        return receive(write_tar, tree)
    finally:
        out.close()


class _Out:
    """The file of the image, whose troubles are told from those of what is written to it."""

    def __init__(self, path: Path) -> None:
        self._path = path
        with self._explained("create"):
            # One that is there is kept, for it may be laid out as the site wants it.
            descriptor = os.open(path, _EMPTY_FILE, 0o600)
            self._file = os.fdopen(descriptor, "wb", _BUFFER)

    def write(self, data: ReadableBuffer) -> None:
        with self._explained("write"):
            self._file.write(data)

    def writelines(self, pieces: Iterable[bytes]) -> None:
        for piece in pieces:
            self.write(piece)

    def seek(self, position: int) -> None:
        with self._explained("write"):
            self._file.seek(position)

    def truncate(self, size: int) -> None:
        with self._explained("write"):
            self._file.truncate(size)

    def flush(self) -> None:
        with self._explained("write"):
            self._file.flush()

    def close(self) -> None:
        # What counts was flushed; what a full disk left in the buffer would fail again.
        with contextlib.suppress(OSError):
            self._file.close()

    @contextlib.contextmanager
    def _explained(self, what: str) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise ConversionError(f"cannot {what} {self._path}: {error.strerror}") from error


def _require(option: str, value: str, allowed: tuple[str, ...] | None) -> None:
    if value in allowed if allowed else value.isdecimal():
        return
    raise _error(f"{option} must be {' or '.join(allowed or ('a number',))}, not {value!r}")


def _error(problem: str) -> ConversionError:
    return ConversionError(f"ConverterOptions.ext4: {problem}")
