# SPDX-License-Identifier: BSD-3-Clause
"""The first 96 bytes of a squashfs file, and whether what they say can be true.

Source: Linux, fs/squashfs/squashfs_fs.h. A kernel is to read this, with a user's bytes in it.
"""

from __future__ import annotations

import dataclasses
import struct

from shifter_imagegw.errors import PullError

SIZE = 96
MAGIC = b"hsqs"

_LAYOUT = struct.Struct("<4s4I6H8Q")
_ABSENT = 0xFFFF_FFFF_FFFF_FFFF
_COMPRESSORS = {1: "gzip", 3: "lzo", 4: "xz", 5: "lz4", 6: "zstd"}  # those that Linux reads
_SMALLEST_BLOCK, _LARGEST_BLOCK = 1 << 12, 1 << 20
_METADATA_BLOCK = 8192  # bytes, unpacked
_ID, _FRAGMENT, _POINTER = 4, 16, 8  # bytes of each entry


@dataclasses.dataclass(frozen=True)
class Superblock:
    magic: bytes
    inodes: int
    made: int
    block_size: int
    fragments: int
    compressor: int
    block_log: int
    flags: int
    ids: int
    major: int
    minor: int
    root_inode: int
    bytes_used: int
    id_table: int
    xattr_table: int
    inode_table: int
    directory_table: int
    fragment_table: int
    export_table: int


def check(start: bytes, file_size: int, *, most_inodes: int) -> Superblock:
    """Read the superblock at the start of a file; `PullError` says what is wrong with it."""
    if not start.startswith(MAGIC):
        raise _broken("it does not start as one")
    if len(start) < SIZE:
        raise _broken(f"it ends after {len(start)} bytes")
    found = Superblock(*_LAYOUT.unpack(start[:SIZE]))
    _check_version(found)
    _check_tables(found, file_size)
    if not 0 < found.inodes <= most_inodes:
        raise PullError(
            f"cannot import a squashfs file of {found.inodes} inodes: an image may have 1 to"
            f" {most_inodes} here (MaxEntries)"
        )
    return found


def _check_version(found: Superblock) -> None:
    if (found.major, found.minor) != (4, 0):
        raise _broken(f"its version is {found.major}.{found.minor}, not 4.0")
    if found.compressor not in _COMPRESSORS:
        known = ", ".join(_COMPRESSORS.values())
        raise _broken(f"its compressor {found.compressor} is none of {known}")
    if (
        not _SMALLEST_BLOCK <= found.block_size <= _LARGEST_BLOCK
        or found.block_size != 1 << found.block_log
    ):
        raise _broken(f"its block size {found.block_size} is not possible")


def _check_tables(found: Superblock, file_size: int) -> None:
    """All tables lie inside, in the order in which every writer puts them, and do not overlap."""
    if not SIZE <= found.bytes_used <= file_size:
        raise _broken(f"it has {file_size} bytes and says to have {found.bytes_used}")
    if found.ids == 0:
        raise _broken("it has no table of owners")
    tables = {
        "inodes": found.inode_table,
        "directories": found.directory_table,
        "fragments": found.fragment_table,
        "exports": found.export_table,
        "owners": found.id_table,
        "attributes": found.xattr_table,
    }
    before = SIZE
    for name, start in tables.items():
        if start == _ABSENT and name in ("fragments", "exports", "attributes"):
            continue
        if not before <= start < found.bytes_used:
            raise _broken(f"its table of {name} lies at byte {start}, where it cannot be")
        before = start
    if found.inode_table == found.directory_table:
        raise _broken("its tables of inodes and directories are in one place")
    root = found.inode_table + (found.root_inode >> 16)
    if root >= found.directory_table or found.root_inode & 0xFFFF >= _METADATA_BLOCK:
        raise _broken("its root directory is not among its inodes")
    _check_end(found, "owners", found.id_table, found.ids * _ID)
    if found.fragments:
        if found.fragment_table == _ABSENT:
            raise _broken("its table of fragments is missing")
        _check_end(found, "fragments", found.fragment_table, found.fragments * _FRAGMENT)


def _check_end(found: Superblock, name: str, start: int, unpacked: int) -> None:
    """A table is a list of where its blocks are."""
    pointers = -(-unpacked // _METADATA_BLOCK) * _POINTER
    if start + pointers > found.bytes_used:
        raise _broken(f"its table of {name} does not fit in")


def _broken(why: str) -> PullError:
    return PullError(f"this is no squashfs file that can be imported: {why}")
