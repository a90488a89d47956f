# SPDX-License-Identifier: BSD-3-Clause
"""Maps of sparse files: which parts of the file the layer holds; the rest are zeros."""

from __future__ import annotations

from shifter_imagegw.flatten.errors import LayerError

Segment = tuple[int, int]  # offset in the file, bytes

_SEGMENTS_MAX = 200_000


def pair_up(numbers: list[int]) -> list[Segment]:
    """Make segments; `check` refuses a last offset without size."""
    sizes = numbers[1::2] if len(numbers) % 2 == 0 else [*numbers[1::2], -1]
    return list(zip(numbers[::2], sizes, strict=True))


def check_count(count: int, layer: str, entry: str) -> None:
    if count > _SEGMENTS_MAX:
        raise LayerError(f"layer {layer} has a sparse file of {count} pieces, too many: {entry}")


def check(segments: list[Segment], size: int, stored: int, layer: str, entry: str) -> None:
    """Refuse pieces that are not in order, not in the file, or not all in the layer."""
    end = 0
    for offset, count in segments:
        if count < 0 or offset < end:
            raise LayerError(f"layer {layer} has a sparse file with a damaged map: {entry}")
        end = offset + count
    if end > size or sum(count for _, count in segments) != stored:
        raise LayerError(f"layer {layer} has a sparse file with a damaged map: {entry}")
