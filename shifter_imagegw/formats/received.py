# SPDX-License-Identifier: BSD-3-Clause
"""The merged tar stream, read while it is written: what a format without a program makes files of.

It understands what `flatten.tar_writer` writes and refuses everything else, so that nothing which
the flattener keeps out of images can come in here.
"""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, BinaryIO, Protocol, TypeVar, cast

from shifter_imagegw.errors import ConversionError
from shifter_imagegw.flatten.names import show
from shifter_imagegw.flatten.tar_header import BLOCK, ZERO_BLOCK, has_valid_checksum, number, text

if TYPE_CHECKING:
    from collections.abc import Callable

    from _typeshed import ReadableBuffer

T = TypeVar("T")

_FILE, _HARD_LINK, _SYMLINK, _DIRECTORY, _LONG_NAME, _LONG_LINK = b"0125LK"
_LONGEST_NAME = 1 << 20  # bytes; that of the flattener is 4096


class Tree(Protocol):
    """What is made of the entries; a path is relative to the root, which is the empty path.

    A directory may come after what is in it, or never.
    """

    def directory(self, path: bytes, mode: int, mtime: int) -> None: ...

    def symlink(self, path: bytes, target: bytes, mtime: int) -> None: ...

    def hard_link(self, path: bytes, target: bytes) -> None:
        """Make `path` another name of `target`, an entry that came before."""

    def begin_file(self, path: bytes, mode: int, mtime: int, size: int) -> None: ...

    def write(self, data: memoryview) -> None:
        """Take some more of the bytes of the file that was begun."""

    def end_file(self) -> None: ...

    def finish(self) -> None:
        """Do what can be done only when everything is there."""


def receive(write_tar: Callable[[BinaryIO], T], tree: Tree) -> T:
    """Have all that `write_tar` writes made by the tree; give what `write_tar` gives."""
    stream = Received(tree)
    result = write_tar(cast("BinaryIO", stream))
    stream.require_complete()
    tree.finish()
    return result


class Received(io.RawIOBase):
    """A file to write a tar stream to, which tells a tree what is in it."""

    def __init__(self, tree: Tree) -> None:
        super().__init__()
        self._tree = tree
        self._rest = b""  # less than a block, or than a long name
        self._data = 0  # bytes of the current file that are to come
        self._padding = 0
        self._wanted = BLOCK
        self._take: Callable[[bytes], None] = self._header
        self._long_name: bytes | None = None
        self._long_link: bytes | None = None
        self._is_complete = False

    def writable(self) -> bool:
        return True

    def write(self, data: ReadableBuffer, /) -> int:
        view = memoryview(data)
        size, position = len(view), 0
        while position < size:
            if self._data:
                piece = view[position : position + self._data]
                self._tree.write(piece)
                self._data -= len(piece)
                if not self._data:
                    self._tree.end_file()
                position += len(piece)
            elif self._padding:
                skipped = min(self._padding, size - position)
                self._padding -= skipped
                position += skipped
            else:
                missing = self._wanted - len(self._rest)
                self._rest += view[position : position + missing]
                position += missing
                if len(self._rest) == self._wanted:
                    block, self._rest = self._rest, b""
                    self._take(block)
        return size

    def require_complete(self) -> None:
        """Complain where the stream ended before its end."""
        if not self._is_complete:
            raise ConversionError("the image's tar stream is truncated")

    def _header(self, block: bytes) -> None:
        if block == ZERO_BLOCK:
            self._is_complete = True
            return
        if self._is_complete or not has_valid_checksum(block):
            raise ConversionError("the image's tar stream is damaged: an entry has no header")
        size = number(block[124:136])
        if size is None or size < 0:
            raise ConversionError("the image's tar stream is damaged: an entry has no size")
        kind = block[156]
        if kind in (_LONG_NAME, _LONG_LINK):
            self._expect_name(kind, size)
        else:
            self._entry(kind, block, size)

    def _expect_name(self, kind: int, size: int) -> None:
        if not 0 < size <= _LONGEST_NAME:
            raise ConversionError(f"the image's tar stream is damaged: a name of {size} bytes")

        def take(block: bytes) -> None:
            if kind == _LONG_NAME:
                self._long_name = text(block[:size])
            else:
                self._long_link = text(block[:size])
            self._wanted, self._take = BLOCK, self._header

        self._wanted, self._take = size + -size % BLOCK, take

    def _entry(self, kind: int, block: bytes, size: int) -> None:
        path = text(block[:100]) if self._long_name is None else self._long_name
        link = text(block[157:257]) if self._long_link is None else self._long_link
        self._long_name = self._long_link = None
        path = _checked(path.removeprefix(b"./").rstrip(b"/"))
        mode, mtime = number(block[100:108]) or 0, max(0, number(block[136:148]) or 0)
        if kind == _DIRECTORY:
            self._tree.directory(path, mode, mtime)
        elif not path:
            raise ConversionError("the image's root is no directory")
        elif kind == _FILE:
            self._tree.begin_file(path, mode, mtime, size)
            self._data, self._padding = size, -size % BLOCK
            if not size:
                self._tree.end_file()
        elif kind == _SYMLINK:
            self._tree.symlink(path, link, mtime)
        elif kind == _HARD_LINK:
            self._tree.hard_link(path, _checked(link.removeprefix(b"./")))
        else:
            raise ConversionError(f"{show(path)} is of type {chr(kind)!r}, which no image may hold")


def _checked(path: bytes) -> bytes:
    """Refuse a path that the flattener would never write, for it could lead elsewhere."""
    if path and any(part in (b"", b".", b"..") for part in path.split(b"/")):
        raise ConversionError(f"the image has an entry with an unsafe path: {show(path)}")
    return path
