# SPDX-License-Identifier: BSD-3-Clause
"""Flatten layers: at once where the layers allow it, else in two passes.

`topdown` reads each layer once and decides about each entry when it sees it. A few layers cannot
be read that way: those with entries below a symbolic link, with one path twice, or with a hard
link into a lower layer. When it meets one, the stream written so far is worthless, and
`sequential` writes it again: slower by one more pass over the layers, for any layers.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import BinaryIO

from shifter_imagegw.flatten import sequential, topdown
from shifter_imagegw.flatten.errors import LayerTooLargeError
from shifter_imagegw.flatten.limits import Limits
from shifter_imagegw.flatten.report import FlattenReport

Progress = Callable[[int], None]


class StreamSpoiledError(Exception):
    """The stream that was begun must be thrown away; `write_again` writes it anew."""

    def __init__(self, write_again: Callable[[BinaryIO], FlattenReport], reason: str) -> None:
        super().__init__(reason)
        self.write_again = write_again


def flatten(
    layers: Sequence[Callable[[], Path]],
    out: BinaryIO,
    *,
    progress: Progress | None = None,
    limits: Limits | None = None,
) -> FlattenReport:
    """Write the tree that `layers`, lowest first, make together, as one tar stream to `out`.

    Each layer is a function that waits until its blob is complete and gives its path; it is called
    from another thread, and what it raises is raised here. `progress` gets the number of bytes of
    all blobs that are done. Raises LayerError and, only when `out` cannot be rewound,
    StreamSpoiledError.
    """
    blobs = [functools.cache(layer) for layer in layers]
    report = progress or _ignore
    limits = limits or Limits()
    if len(layers) > limits.layers:
        raise LayerTooLargeError(
            f"the image has {len(layers)} layers; more than {limits.layers} are not allowed here"
        )
    can_rewind = out.seekable()
    start = out.tell() if can_rewind else 0
    write_again = functools.partial(sequential.flatten, blobs, progress=report, limits=limits)
    try:
        return topdown.flatten(blobs, out, report, limits)
    except topdown.NotTopDownError as error:
        if not can_rewind:
            raise StreamSpoiledError(write_again, str(error)) from error
    out.seek(start)
    out.truncate()
    return write_again(out)


def _ignore(_: int) -> None:
    return None
