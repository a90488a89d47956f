# SPDX-License-Identifier: BSD-3-Clause
"""Open layers one after the other, and begin with the next ones before they are asked for."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path

from shifter_imagegw.flatten.limits import Budget
from shifter_imagegw.flatten.stream import LayerStream

_LAYERS_AHEAD = 2


@contextlib.contextmanager
def streams(
    layers: Sequence[Callable[[], Path]], order: Iterable[int], budget: Budget
) -> Iterator[Iterator[tuple[int, LayerStream]]]:
    """Give layers in `order` with their numbers; whatever happens, stop their threads."""
    opened: list[LayerStream] = []
    try:
        yield _one_by_one(layers, list(order), budget, opened)
    finally:
        for stream in opened:
            stream.close()


def _one_by_one(
    layers: Sequence[Callable[[], Path]],
    order: list[int],
    budget: Budget,
    opened: list[LayerStream],
) -> Iterator[tuple[int, LayerStream]]:
    waiting = list(order)
    for number in order:
        while waiting and len(opened) <= _LAYERS_AHEAD:
            stream = LayerStream(layers[waiting.pop(0)], budget)
            opened.append(stream)
            stream.start()
        yield number, opened[0]
        opened.pop(0).close()
