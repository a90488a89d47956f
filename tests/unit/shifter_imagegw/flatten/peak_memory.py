# SPDX-License-Identifier: BSD-3-Clause
"""Flatten the layers given as arguments, and print the error and the peak of resident memory."""

from __future__ import annotations

import io
import sys
from pathlib import Path

from shifter_imagegw.flatten import FlattenError, Limits, flatten


class Nowhere(io.RawIOBase):
    def write(self, data) -> int:
        return len(data)


def peak() -> int:
    """Bytes of memory; not by getrusage, which begins with what the parent had."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith("VmHWM")).split()[1]) << 10


if __name__ == "__main__":
    limits = Limits(entries=int(sys.argv[1]), bytes=int(sys.argv[2]))
    outcome = "flattened"
    try:
        flatten([lambda name=name: Path(name) for name in sys.argv[3:]], Nowhere(), limits=limits)
    except FlattenError as error:
        outcome = str(error)
    print(peak(), outcome)
