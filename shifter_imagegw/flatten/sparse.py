# SPDX-License-Identifier: BSD-3-Clause
"""Maps of sparse files: which parts of the file the layer holds; the rest are zeros."""

from __future__ import annotations

from shifter_imagegw.flatten.errors import LayerError

Segment = tuple[int, int]  # offset in the file, bytes

_SEGMENTS_MAX = 200_000


def pair_up(numbers: list[int]) -> list[Segment]:
    return list(zip(numbers[::2], numbers[1::2], strict=False))


def check_count(count: int, layer: str, entry: str) -> None:
    if count > _SEGMENTS_MAX:
        raise LayerError(f"layer {layer} has a sparse file of {count} pieces, too many: {entry}")


def check(segments: list[Segment], size: int, stored: int, layer: str, entry: str) -> None:
    """The pieces lie one behind the other inside the file, and the layer holds all of them."""
    end = 0
    for offset, count in segments:
        if count < 0 or offset < end:
            raise LayerError(f"layer {layer} has a sparse file with a damaged map: {entry}")
        end = offset + count
    if end > size or sum(count for _, count in segments) != stored:
        raise LayerError(f"layer {layer} has a sparse file with a damaged map: {entry}")
