# SPDX-License-Identifier: BSD-3-Clause
"""How much a hostile layer may ask of the gateway."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

from shifter_imagegw.flatten.errors import LayerTooLargeError

GIB = 1 << 30
_UNITS = ((1 << 40, "TiB"), (1 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB"))
_NAME_BYTES = 50  # of an entry, on average; far more than real images have
_FEWEST_NAME_BYTES = 16 << 20
DIRECTORY_BYTES = 200  # of memory for a directory that is only implied, beside its name


@dataclasses.dataclass(frozen=True, kw_only=True)
class Limits:
    """Far above what images are, far below what would stop a gateway.

    `entries_setting` and `bytes_setting` name what the administrator can change, for the errors.
    """

    layers: int = 1000
    entries: int = 2_000_000  # of all layers together; each costs about 150 bytes of memory
    bytes: int = 512 * GIB  # of all layers together, unpacked
    expansion: int = 200  # unpacked size of one layer over its size as a blob …
    expansion_from: int = 16 * GIB  # … once it is larger than this
    entries_setting: str = ""
    bytes_setting: str = ""

    @property
    def name_bytes(self) -> int:
        """How much of names and link targets may have to be kept in memory at once."""
        return max(self.entries * _NAME_BYTES, _FEWEST_NAME_BYTES)

    def require_possible(self, packed: int) -> None:
        """Refuse layers that are too large before one is fetched: `packed` bytes, as blobs."""
        if packed > self.bytes:
            raise LayerTooLargeError(
                f"the image's layers are {in_words(packed)} compressed already; an image may have"
                f" {in_words(self.bytes)}{_by(self.bytes_setting)} here"
            )


class Budget:
    """What is left of the limits while one image is read.

    `progress` gets the number of bytes that are done, again and again: what it raises ends the
    work, however little of it moves on.
    """

    def __init__(self, limits: Limits, progress: Callable[[int], None] | None = None) -> None:
        self._limits = limits
        self._progress = progress
        self._done = 0
        self._entries = 0
        self._bytes = 0
        self._name_bytes = 0

    def reach(self, done: int) -> None:
        """Note that `done` bytes of all blobs are done."""
        self._done = done
        self.pulse()

    def pulse(self) -> None:
        """Let the caller end the work, now that a moment has passed."""
        if self._progress is not None:
            self._progress(self._done)

    def spend_entry(self, layer: str) -> None:
        self._entries += 1
        if self._entries > self._limits.entries:
            raise LayerTooLargeError(
                f"layer {layer} brings the image to more than {self._limits.entries} entries,"
                f" which is all that an image may have here{_by(self._limits.entries_setting)}"
            )

    def spend_name(self, count: int) -> None:
        """Keep `count` bytes of a name or of a link's target in memory."""
        self._name_bytes += count
        if self._name_bytes > self._limits.name_bytes:
            raise LayerTooLargeError(
                f"the names in the image are more than {in_words(self._limits.name_bytes)} of text,"
                f" which is all that an image may have here{_by(self._limits.entries_setting)}"
            )

    def spend_bytes(self, layer: str, count: int) -> None:
        self._bytes += count
        if self._bytes > self._limits.bytes:
            raise LayerTooLargeError(
                f"layer {layer} brings the image to more than {in_words(self._limits.bytes)}"
                " unpacked, which is all that an image may have here"
                f"{_by(self._limits.bytes_setting)}"
            )

    def check_expansion(self, layer: str, packed: int, unpacked: int) -> None:
        if unpacked <= self._limits.expansion_from:
            return
        if unpacked > packed * self._limits.expansion:
            raise LayerTooLargeError(
                f"layer {layer} expands to more than {self._limits.expansion} times its size:"
                " it looks like a decompression bomb"
            )


def in_words(size: int) -> str:
    """A number of bytes as people say it: `512 GiB`, `1.5 MiB`."""
    for unit, name in _UNITS:
        if size >= unit:
            return f"{size / unit:.4g} {name}"
    return f"{size} bytes"


def _by(setting: str) -> str:
    return f" (the administrator's {setting})" if setting else ""
