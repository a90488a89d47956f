# SPDX-License-Identifier: BSD-3-Clause
"""What came out of a flattening, for the log."""

from __future__ import annotations

import dataclasses

from shifter_imagegw.flatten.tar_reader import DEVICE, FIFO


@dataclasses.dataclass(kw_only=True)
class FlattenReport:
    """Counts of one merged tree."""

    entries: int = 0  # names in the image, directories included
    bytes: int = 0  # in files, each hard-linked file counted once
    dropped_devices: int = 0
    dropped_fifos: int = 0
    dropped_others: int = 0  # entries of a type or with a name that no image should have
    was_read_twice: bool = False  # because entries depend on lower layers, see `topdown`

    def count_dropped(self, kind: int) -> None:
        if kind == DEVICE:
            self.dropped_devices += 1
        elif kind == FIFO:
            self.dropped_fifos += 1
        else:
            self.dropped_others += 1
