# SPDX-License-Identifier: BSD-3-Clause
"""How many groups an ext4 filesystem has, and where their bitmaps and inodes lie."""

from __future__ import annotations

from shifter_imagegw.errors import ConversionError
from shifter_imagegw.formats import ext4_layout as layout

_GROUPS_MAX = 32768  # of 128 MiB: 4 TiB
FIRST_BLOCK = 1 + _GROUPS_MAX // layout.GROUPS_PER_BLOCK  # of data; what is unused before is free


class Groups:
    """Those of a filesystem with `inodes`, whose data end before the block `end`.

    Behind the data lie all bitmaps of blocks, then those of inodes, then the tables of inodes.
    """

    def __init__(self, end: int, inodes: int) -> None:
        self._inodes = inodes
        self._end = end
        self.number = 1
        while self._is_too_small():
            self.number += 1
            if self.number > _GROUPS_MAX:
                raise ConversionError("the image is too large for ext4: use squashfs")
        # The last group needs a block at least.
        self.blocks = max(self._blocks_used, (self.number - 1) * layout.GROUP + 1)

    @property
    def inodes_per_group(self) -> int:
        per_group = -(-self._inodes // self.number)
        return -(-per_group // layout.INODES_PER_BLOCK) * layout.INODES_PER_BLOCK

    def inodes_in(self, group: int) -> tuple[int, int]:
        """First and last but one of the inodes, counted from 0, that are used in a group."""
        first = min(group * self.inodes_per_group, self._inodes)
        return first, min(first + self.inodes_per_group, self._inodes)

    def places(self, group: int) -> tuple[int, int, int]:
        """Of the bitmap of blocks, that of inodes, and the table of inodes."""
        tables = self._end + 2 * self.number
        return (
            self._end + group,
            self._end + self.number + group,
            tables + group * self._table_blocks,
        )

    def block_bitmap(self, group: int) -> tuple[bytes, int]:
        """The bitmap, and how many blocks are free."""
        used = ((0, 1 + self._table_of_groups), (FIRST_BLOCK, self._blocks_used))
        first = group * layout.GROUP
        return layout.bitmap(used, first, min(layout.GROUP, self.blocks - first))

    def inode_bitmap(self, group: int) -> tuple[bytes, int]:
        per_group = self.inodes_per_group
        return layout.bitmap(((0, self._inodes),), group * per_group, per_group)

    def group_of(self, inode: int) -> int:
        return (inode - 1) // self.inodes_per_group

    @property
    def _blocks_used(self) -> int:
        return self._end + self.number * (2 + self._table_blocks)

    @property
    def _table_blocks(self) -> int:
        return self.inodes_per_group // layout.INODES_PER_BLOCK

    @property
    def _table_of_groups(self) -> int:
        return -(-self.number // layout.GROUPS_PER_BLOCK)

    def _is_too_small(self) -> bool:
        return (
            self.inodes_per_group > layout.MOST_INODES_PER_GROUP
            or self._blocks_used > self.number * layout.GROUP
        )
