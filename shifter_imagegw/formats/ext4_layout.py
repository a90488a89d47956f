# SPDX-License-Identifier: BSD-3-Clause
"""The structures of an ext4 filesystem as they lie on disk, for one that is written once.

Source: the kernel's Documentation/filesystems/ext4. There is one superblock and one table of
groups, at the front; bitmaps and inodes of all groups lie together at the end (flex_bg), where
their number is known. No journal, no checksums: nothing is ever written again.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator, Sequence

BLOCK = 4096
GROUP = 8 * BLOCK  # blocks that one bitmap tells of
INODE = 256
INODE_CORE = 128  # what every inode has; the rest holds times after 2038
INODES_PER_BLOCK = BLOCK // INODE
MOST_INODES_PER_GROUP = 8 * BLOCK
GROUPS_PER_BLOCK = BLOCK // 32
FIRST_INODE = 11  # those below are the filesystem's own
ROOT = 2

FILE, DIRECTORY, SYMLINK = 0o100000, 0o040000, 0o120000
MOST_LINKS = 65000
CONTENT = 60  # bytes of an inode for its extents, or for a short link's target
INLINE_TARGET = CONTENT - 1
EXTENTS_IN_INODE = (CONTENT - 12) // 12
EXTENTS_IN_BLOCK = (BLOCK - 12) // 12

MAGIC = b"\x53\xef"
SUPERBLOCK_AT = 1024
_MAGIC_AT = slice(0x38, 0x3A)
_BLOCKS_AT = slice(0x04, 0x08)

_UUID = bytes.fromhex("73686966746572696d61676565787434")  # the same for all, as is their time
_SPARSE_SUPER2 = 0x200  # copies of the superblock only where it says, which is nowhere
_FILETYPE, _EXTENTS, _FLEX_BG = 0x2, 0x40, 0x200
_LARGE_FILE, _DIR_NLINK, _EXTRA_ISIZE, _READ_ONLY = 0x2, 0x20, 0x40, 0x1000
_USES_EXTENTS = 0x80000
_EXTENT_MAGIC = 0xF30A
_LONGEST_EXTENT = 32768  # blocks
_LATEST = 0x37FFFFFFF  # seconds that fit into 34 bits, as they are kept
_EXTRA = struct.Struct("<HHIII96x16x")
_CORE = struct.Struct("<HHIIIIIHHIII60sIIIIHHHHI")
_FILE_TYPES = {FILE: 1, DIRECTORY: 2, SYMLINK: 7}

Extent = tuple[int, int, int]  # first block within the file, first block on disk, blocks


def superblock(
    *, blocks: int, free_blocks: int, inodes: int, free_inodes: int, groups: int, label: bytes
) -> bytes:
    start = struct.pack(
        "<13I6H4I2HI",
        *(inodes, blocks, 0, free_blocks, free_inodes, 0),
        *(2, 2),  # blocks of 4096 bytes, clusters too
        *(GROUP, GROUP, inodes // groups),
        *(0, 0),  # never mounted, never written
        *(0, 0xFFFF, 0xEF53, 1, 1, 0),  # clean; go on after an error
        *(0, 0, 0, 1),  # not checked; version with what follows
        *(0, 0, FIRST_INODE),
    )
    more = struct.pack(
        "<2H3I16s16s",
        *(INODE, 0),
        *(_SPARSE_SUPER2, _FILETYPE | _EXTENTS | _FLEX_BG),
        _LARGE_FILE | _DIR_NLINK | _EXTRA_ISIZE | _READ_ONLY,
        *(_UUID, label),
    )
    block = bytearray(start + more).ljust(1024, b"\0")
    struct.pack_into("<HH", block, 0x15C, 32, 32)  # what inodes have beyond their core
    block[0x174] = 4  # groups whose metadata lie together: 1 << 4
    return bytes(block)


def blocks_said(start: bytes) -> int | None:
    """How many blocks a filesystem says to have, by its first 2048 bytes; None if it is none."""
    block = start[SUPERBLOCK_AT:]
    if block[_MAGIC_AT] != MAGIC:
        return None
    return int.from_bytes(block[_BLOCKS_AT], "little")


def group(
    block_bitmap: int, inode_bitmap: int, table: int, free_blocks: int, free_inodes: int, dirs: int
) -> bytes:
    return struct.pack(
        "<3I4H12x", block_bitmap, inode_bitmap, table, free_blocks, free_inodes, dirs, 0
    )


def bitmap(used: Iterable[tuple[int, int]], first: int, size: int) -> tuple[bytes, int]:
    """Which of `size` things from `first` on are used, by ranges; and how many are not."""
    bits = ((1 << (8 * BLOCK)) - 1) ^ ((1 << size) - 1)  # what does not exist counts as used
    for start, end in used:
        start, end = max(start - first, 0), min(end - first, size)
        if start < end:
            bits |= ((1 << (end - start)) - 1) << start
    return bits.to_bytes(BLOCK, "little"), 8 * BLOCK - bits.bit_count()


def inode(mode: int, *, mtime: int, links: int, size: int, blocks: int, content: bytes) -> bytes:
    """The core of an inode of root's; `content` is the top of its extents, or a link's target."""
    has_extents = len(content) == CONTENT
    time = min(mtime, _LATEST) & 0xFFFFFFFF
    sectors = blocks * (BLOCK // 512)
    return _CORE.pack(
        *(mode, 0, size & 0xFFFFFFFF, time, time, time, 0, 0, links, sectors & 0xFFFFFFFF),
        *(_USES_EXTENTS if has_extents else 0, 0, content, 0, 0, size >> 32, 0),
        *(sectors >> 32, 0, 0, 0, 0),
    )


def inode_rest(mtime: int) -> bytes:
    """What follows the core: the bits of its times that no 32-bit number holds."""
    mtime = min(mtime, _LATEST)
    epoch = (mtime + (1 << 31)) >> 32
    return _EXTRA.pack(32, 0, epoch, epoch, epoch)


def split(extents: Iterable[Extent]) -> Iterator[Extent]:
    for logical, physical, count in extents:
        for done in range(0, count, _LONGEST_EXTENT):
            yield logical + done, physical + done, min(_LONGEST_EXTENT, count - done)


def extent_node(entries: Sequence[bytes], depth: int, room: int) -> bytes:
    """A node of the tree of extents, in an inode (`room` 60) or in a block of its own."""
    header = struct.pack("<4HI", _EXTENT_MAGIC, len(entries), (room - 12) // 12, depth, 0)
    return (header + b"".join(entries)).ljust(room, b"\0")


def extent_entry(logical: int, physical: int, count: int) -> bytes:
    return struct.pack("<IHHI", logical, count, 0, physical)


def index_entry(logical: int, node: int) -> bytes:
    return struct.pack("<IIHH", logical, node, 0, 0)


def directory_blocks(entries: Iterable[tuple[bytes, int, int]]) -> Iterator[bytes]:
    """The blocks of a directory, of names, inode numbers and modes."""
    block = b""
    last = 0  # where in it the last entry begins
    for name, number, mode in entries:
        size = (8 + len(name) + 3) & ~3
        if len(block) + size > BLOCK:
            yield _filled(block, last)
            block = b""
        last = len(block)
        kind = _FILE_TYPES[mode & 0o170000]
        block += struct.pack("<IHBB", number, size, len(name), kind) + name.ljust(size - 8, b"\0")
    yield _filled(block, last)


def _filled(block: bytes, last: int) -> bytes:
    """A directory's block whose last entry reaches to its end."""
    length = struct.pack("<H", BLOCK - last)
    return (block[: last + 4] + length + block[last + 6 :]).ljust(BLOCK, b"\0")
