# SPDX-License-Identifier: BSD-3-Clause
"""Files whose own names are hidden, but to which a hard link of the same layer is seen.

A link comes behind its target, so the bytes have gone by when they turn out to be wanted. Most
hidden files are wanted by nobody; so none is kept for the case, and the layer is read again for
the few that are.
"""

from __future__ import annotations

from shifter_imagegw.flatten.tar_reader import Member, TarReader
from shifter_imagegw.flatten.tar_writer import TarWriter


class Owed:
    """What the current layer still has to bring, by the numbers of its entries."""

    def __init__(self, writer: TarWriter) -> None:
        self._writer = writer
        self._files: dict[int, bytes] = {}  # number of the entry -> the path to write it under
        self._paths: set[bytes] = set()  # those, and of links to them
        self._links: list[tuple[bytes, bytes]] = []

    def __bool__(self) -> bool:
        return bool(self._files)

    def promise(self, number: int, path: bytes) -> None:
        """Have `path` written later, with the bytes of the layer's entry `number`."""
        self._files[number] = path
        self._paths.add(path)

    def link(self, path: bytes, target: bytes) -> bool:
        """Make `path` a link to `target` later, if that is promised; else do nothing."""
        if target not in self._paths:
            return False
        self._paths.add(path)
        self._links.append((path, target))
        return True

    def pay(self, number: int, member: Member, reader: TarReader) -> None:
        """Take an entry of the layer as it comes by for the second time."""
        path = self._files.pop(number, None)
        if path is not None:
            data = reader.padded_data()
            self._writer.file(path, member.mode, member.mtime, member.size, data)

    def settle(self) -> None:
        """Write the links to what was paid, and begin anew."""
        for path, target in self._links:
            self._writer.hard_link(path, target)
        self._paths.clear()
        self._links.clear()
