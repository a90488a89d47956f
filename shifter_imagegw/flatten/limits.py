# SPDX-License-Identifier: BSD-3-Clause
"""How much a hostile layer may ask of the gateway."""

from __future__ import annotations

import dataclasses

from shifter_imagegw.flatten.errors import LayerTooLargeError

GIB = 1 << 30


@dataclasses.dataclass(frozen=True, kw_only=True)
class Limits:
    """Far above what images are, far below what would stop a gateway."""

    layers: int = 1000
    entries: int = 5_000_000  # of all layers together; each costs about 150 bytes of memory
    bytes: int = 512 * GIB  # of all layers together, unpacked
    expansion: int = 200  # unpacked size of one layer over its size as a blob …
    expansion_from: int = 16 * GIB  # … once it is larger than this


class Budget:
    """What is left of the limits while one image is read."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._entries = 0
        self._bytes = 0

    def spend_entry(self, layer: str) -> None:
        self._entries += 1
        if self._entries > self._limits.entries:
            raise LayerTooLargeError(
                f"layer {layer} brings the image to more than {self._limits.entries} entries,"
                " which is all that an image may have here"
            )

    def spend_bytes(self, layer: str, count: int) -> None:
        self._bytes += count
        if self._bytes > self._limits.bytes:
            raise LayerTooLargeError(
                f"layer {layer} brings the image to more than {self._limits.bytes >> 30} GiB"
                " unpacked, which is all that an image may have here"
            )

    def check_expansion(self, layer: str, packed: int, unpacked: int) -> None:
        if unpacked <= self._limits.expansion_from:
            return
        if unpacked > packed * self._limits.expansion:
            raise LayerTooLargeError(
                f"layer {layer} expands to more than {self._limits.expansion} times its size:"
                " it looks like a decompression bomb"
            )
