# SPDX-License-Identifier: BSD-3-Clause
"""A tar archive as a folder of files, looked into without unpacking it.

Names mean what the archive holds under them; a link in it leads to another member or nowhere.
"""

from __future__ import annotations

import os
import posixpath
from collections.abc import Callable, Iterator

from shifter_imagegw.errors import PullError
from shifter_imagegw.flatten import LayerError, Limits
from shifter_imagegw.flatten.limits import Budget
from shifter_imagegw.flatten.tar_reader import FILE, HARD_LINK, SYMLINK
from shifter_imagegw.importers.job import ImportJob
from shifter_imagegw.importers.spool import pieces_of, unpacked
from shifter_imagegw.importers.tar_source import FileSource, reader_of

_MOST_MEMBERS = 20_000  # of an archive of images, each with a thousand layers at most
_MOST_LINKS = 8
_COMPRESSED = (b"\x1f\x8b", b"\x28\xb5\x2f\xfd", b"\xfd7zXZ\0", b"BZh")


class Archive:
    """The members of an archive that are files."""

    def __init__(self, descriptor: int, shown: str, keep_going: Callable[[], None]) -> None:
        self.shown = shown
        self._descriptor = descriptor
        self._files: dict[str, tuple[int, int]] = {}  # offset and size
        self._links: dict[str, str] = {}
        source = FileSource(descriptor, shown, keep_going)
        reader = reader_of(source, Budget(Limits(entries=_MOST_MEMBERS)))
        for member in reader:
            name = os.fsdecode(member.name)
            if member.kind == FILE and member.sparse is None:
                self._files[name] = (source.position, member.size)
            elif member.kind == HARD_LINK:
                self._links[name] = os.fsdecode(member.link)
            elif member.kind == SYMLINK:
                target = os.fsdecode(member.link)
                self._links[name] = posixpath.join(posixpath.dirname(name), target)

    def __contains__(self, name: str) -> bool:
        return self._find(name) is not None

    def size(self, name: str) -> int:
        return self._require(name)[1]

    def pieces(self, name: str) -> Iterator[bytes]:
        """The bytes of a member."""
        offset, size = self._require(name)
        for piece in pieces_of(self._descriptor, offset, size):
            size -= len(piece)
            yield piece
        if size:
            raise PullError(f"{self.shown} changed while it was imported: try again")

    def _require(self, name: str) -> tuple[int, int]:
        found = self._find(name)
        if found is None:
            raise PullError(f"{self.shown} does not hold the file {name[:200]!r}, which it names")
        return found

    def _find(self, name: str) -> tuple[int, int] | None:
        for _ in range(_MOST_LINKS):
            name = posixpath.normpath(name)
            if name not in self._links:
                return self._files.get(name)
            name = self._links[name]
        return None


def opened(descriptor: int, job: ImportJob) -> Archive:
    """The archive in a file, which may be compressed as a whole."""
    keep_going = job.lease.require_held
    try:
        if os.pread(descriptor, 6, 0).startswith(_COMPRESSED):
            packed = job.spool.copy(pieces_of(descriptor), job.shown)
            pieces = unpacked(packed.path, job.limits, keep_going)
            descriptor = job.spool.copy(pieces, job.shown).descriptor
        return Archive(descriptor, job.shown, keep_going)
    except LayerError as error:
        text = str(error).removeprefix(f"layer {job.shown} ")
        raise PullError(f"{job.shown} is no archive that can be imported: {text}") from error
