# SPDX-License-Identifier: BSD-3-Clause
"""An ext4 filesystem, written from front to back while its files come.

The data of each file lie in one piece, in the order in which they come. Directories, inodes and
bitmaps follow, once all are known; until then 128 bytes of each inode are in memory, and its name.
"""

from __future__ import annotations

import collections
from collections.abc import Iterable, Iterator
from typing import BinaryIO

from shifter_imagegw.errors import ConversionError
from shifter_imagegw.flatten.names import show
from shifter_imagegw.flatten.tar_writer import IMPLIED_MODE
from shifter_imagegw.formats import ext4_layout as layout
from shifter_imagegw.formats.ext4_groups import FIRST_BLOCK, Groups
from shifter_imagegw.formats.ext4_layout import BLOCK

_PIECE = 16 * BLOCK  # that much of nothing but zeros takes no space
_ZEROS = bytes(_PIECE)
_INODES_AT_ONCE = 4096  # of those written
_LINKS_AT = 26  # of the number of names, in an inode


class _Directory:
    __slots__ = ("children", "mode", "mtime", "number")

    def __init__(self, number: int) -> None:
        self.number = number
        self.mode = IMPLIED_MODE
        self.mtime = 0
        self.children: dict[bytes, _Directory | int] = {}  # an int is an inode of something else


class _Data:
    """The bytes of one inode, and where they lie."""

    __slots__ = ("extents", "piece", "position")

    def __init__(self) -> None:
        self.extents: list[layout.Extent] = []
        self.piece = bytearray()  # what was not written yet
        self.position = 0  # in blocks, of that piece

    def add(self, physical: int, count: int) -> None:
        if self.extents:
            logical, first, length = self.extents[-1]
            if logical + length == self.position and first + length == physical:
                self.extents[-1] = (logical, first, length + count)
                return
        self.extents.append((self.position, physical, count))


class Ext4Writer:
    """A `Tree` that makes a filesystem in the empty file `out`; `finish` completes it."""

    def __init__(self, out: BinaryIO, label: bytes = b"") -> None:
        self._out = out
        self._label = label
        self._next = FIRST_BLOCK
        self._inodes = bytearray(layout.INODE_CORE * (layout.FIRST_INODE - 1))
        self._late: dict[int, int] = {}  # times after 2038, by inode
        self._root = _Directory(layout.ROOT)
        self._last: tuple[bytes, _Directory] = (b"", self._root)  # that was looked up
        self._file = (0, 0, 0, 0)  # inode, mode, time and size of the current file …
        self._data = _Data()  # … and its bytes
        out.seek(self._next * BLOCK)

    def directory(self, path: bytes, mode: int, mtime: int) -> None:
        directory = self._directory(path)
        directory.mode, directory.mtime = mode, mtime

    def symlink(self, path: bytes, target: bytes, mtime: int) -> None:
        number = self._new(path)
        mode = layout.SYMLINK | 0o777
        if len(target) <= layout.INLINE_TARGET:
            self._put(number, mode, mtime, 1, len(target), (target, 0))
        elif len(target) < BLOCK:
            self._write_whole(number, mode, mtime, 1, [target])
        else:
            raise ConversionError(f"the symbolic link {show(path)} has a target too long for ext4")

    def hard_link(self, path: bytes, target: bytes) -> None:
        parent, _, name = target.rpartition(b"/")
        number = self._directory(parent).children.get(name)
        if not isinstance(number, int):
            raise ConversionError(f"the hard link {show(path)} leads to no file: {show(target)}")
        at = layout.INODE_CORE * (number - 1) + _LINKS_AT
        links = int.from_bytes(self._inodes[at : at + 2], "little") + 1
        if links > layout.MOST_LINKS:
            raise ConversionError(
                f"{show(target)} has more than {layout.MOST_LINKS} names, which is all that ext4"
                " can give a file: use squashfs"
            )
        self._inodes[at : at + 2] = links.to_bytes(2, "little")
        self._add(path, number)

    def begin_file(self, path: bytes, mode: int, mtime: int, size: int) -> None:
        self._file = (self._new(path), layout.FILE | mode & 0o7777, mtime, size)
        self._data = _Data()

    def write(self, data: memoryview) -> None:
        self._write(self._data, data)

    def end_file(self) -> None:
        number, mode, mtime, size = self._file
        self._put(number, mode, mtime, 1, size, self._end(self._data))

    def finish(self) -> None:
        """Write what is known only now."""
        directories = [directory.number for directory in self._write_directories()]
        groups = Groups(self._next, len(self._inodes) // layout.INODE_CORE)
        held = collections.Counter(map(groups.group_of, directories))
        blocks = [groups.block_bitmap(number) for number in range(groups.number)]
        inodes = [groups.inode_bitmap(number) for number in range(groups.number)]
        self._out.writelines(bits for bits, _ in blocks + inodes)
        self._write_inodes(groups)
        self._out.truncate(groups.blocks * BLOCK)
        self._out.seek(BLOCK)
        for number in range(groups.number):
            free = blocks[number][1], inodes[number][1]
            self._out.write(layout.group(*groups.places(number), *free, held[number]))
        self._out.seek(layout.SUPERBLOCK_AT)
        self._out.write(
            layout.superblock(
                blocks=groups.blocks,
                free_blocks=sum(free for _, free in blocks),
                inodes=groups.inodes_per_group * groups.number,
                free_inodes=sum(free for _, free in inodes),
                groups=groups.number,
                label=self._label,
            )
        )
        self._out.flush()

    def _directory(self, path: bytes) -> _Directory:
        """The directory at `path`, made with its parents where nothing described it yet."""
        if path == self._last[0]:
            return self._last[1]
        directory = self._root
        for name in path.split(b"/") if path else ():
            child = directory.children.get(name)
            if child is None:
                child = directory.children[name] = _Directory(self._new_number())
            elif isinstance(child, int):
                raise ConversionError(f"the image has something below {show(path)}, a file")
            directory = child
        self._last = path, directory
        return directory

    def _add(self, path: bytes, number: int) -> None:
        parent, _, name = path.rpartition(b"/")
        children = self._directory(parent).children
        if name in children:
            raise ConversionError(f"the image has {show(path)} twice")
        children[name] = number

    def _new(self, path: bytes) -> int:
        number = self._new_number()
        self._add(path, number)
        return number

    def _new_number(self) -> int:
        self._inodes += bytes(layout.INODE_CORE)
        return len(self._inodes) // layout.INODE_CORE

    def _put(
        self, number: int, mode: int, mtime: int, links: int, size: int, content: tuple[bytes, int]
    ) -> None:
        top, blocks = content
        at = layout.INODE_CORE * (number - 1)
        self._inodes[at : at + layout.INODE_CORE] = layout.inode(
            mode, mtime=mtime, links=links, size=size, blocks=blocks, content=top
        )
        if mtime >> 31:
            self._late[number] = mtime

    def _write_whole(
        self, number: int, mode: int, mtime: int, links: int, pieces: Iterable[bytes]
    ) -> None:
        data = _Data()
        size = 0
        for piece in pieces:
            self._write(data, memoryview(piece))
            size += len(piece)
        self._put(number, mode, mtime, links, size, self._end(data))

    def _write(self, data: _Data, content: memoryview) -> None:
        position = 0
        while position < len(content):
            piece = content[position : position + _PIECE - len(data.piece)]
            position += len(piece)
            if len(piece) == _PIECE:
                self._write_piece(data, piece)
                continue
            data.piece += piece
            if len(data.piece) == _PIECE:
                self._write_piece(data, data.piece)
                data.piece = bytearray()

    def _write_piece(self, data: _Data, piece: memoryview | bytearray) -> None:
        count = -(-len(piece) // BLOCK)
        if piece[0] or piece[-1] or len(piece) < _PIECE or bytes(piece) != _ZEROS:
            data.add(self._next, count)
            self._append(piece, count)
        data.position += count

    def _append(self, content: memoryview | bytearray | bytes, count: int) -> int:
        """Write `count` blocks; the number of the first."""
        first = self._next
        self._out.write(content)
        if missing := count * BLOCK - len(content):
            self._out.write(_ZEROS[:missing])
        self._next += count
        return first

    def _end(self, data: _Data) -> tuple[bytes, int]:
        """What the inode says of its extents, and the blocks that they and their tree take."""
        if data.piece:
            self._write_piece(data, data.piece)
        blocks = sum(count for _, _, count in data.extents)
        # One entry for each extent, and then for each node of the level below, until they fit.
        entries = [
            (logical, layout.extent_entry(logical, physical, count))
            for logical, physical, count in layout.split(data.extents)
        ]
        depth = 0
        while len(entries) > layout.EXTENTS_IN_INODE:
            level = []
            for start in range(0, len(entries), layout.EXTENTS_IN_BLOCK):
                part = entries[start : start + layout.EXTENTS_IN_BLOCK]
                node = layout.extent_node([entry for _, entry in part], depth, BLOCK)
                logical = part[0][0]
                level.append((logical, layout.index_entry(logical, self._append(node, 1))))
                blocks += 1
            entries, depth = level, depth + 1
        return layout.extent_node([entry for _, entry in entries], depth, layout.CONTENT), blocks

    def _write_directories(self) -> Iterator[_Directory]:
        left = [(self._root, layout.ROOT)]
        while left:
            directory, parent = left.pop()
            subdirectories = [
                child for child in directory.children.values() if isinstance(child, _Directory)
            ]
            links = 2 + len(subdirectories)
            self._write_whole(
                directory.number,
                layout.DIRECTORY | directory.mode & 0o7777,
                directory.mtime,
                links if links < layout.MOST_LINKS else 1,  # more than can be counted
                layout.directory_blocks(self._entries(directory, parent)),
            )
            left += [(child, directory.number) for child in subdirectories]
            yield directory

    def _entries(self, directory: _Directory, parent: int) -> Iterator[tuple[bytes, int, int]]:
        yield b".", directory.number, layout.DIRECTORY
        yield b"..", parent, layout.DIRECTORY
        for name, child in sorted(directory.children.items(), key=lambda item: item[0]):
            if isinstance(child, int):
                at = layout.INODE_CORE * (child - 1)
                yield name, child, int.from_bytes(self._inodes[at : at + 2], "little")
            else:
                yield name, child.number, layout.DIRECTORY

    def _write_inodes(self, groups: Groups) -> None:
        per_group = groups.inodes_per_group
        for group in range(groups.number):
            first, end = groups.inodes_in(group)
            for start in range(first, end, _INODES_AT_ONCE):
                numbers = range(start, min(start + _INODES_AT_ONCE, end))
                self._out.write(b"".join(map(self._whole_inode, numbers)))
            self._out.write(bytes((per_group - (end - first)) * layout.INODE))

    def _whole_inode(self, index: int) -> bytes:
        at = layout.INODE_CORE * index
        core = self._inodes[at : at + layout.INODE_CORE]
        return bytes(core) + layout.inode_rest(self._late.get(index + 1, 0))
