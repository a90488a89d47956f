# SPDX-License-Identifier: BSD-3-Clause
"""The layers of an image become one tar stream; nothing is unpacked on the way."""

from __future__ import annotations

from shifter_imagegw.flatten.errors import (
    FlattenError,
    LayerError,
    LayerTooLargeError,
    TruncatedLayerError,
    UnknownCompressionError,
    UnsafeLayerError,
)
from shifter_imagegw.flatten.flattening import StreamSpoiledError, flatten
from shifter_imagegw.flatten.limits import Limits
from shifter_imagegw.flatten.report import FlattenReport

__all__ = [
    "FlattenError",
    "FlattenReport",
    "LayerError",
    "LayerTooLargeError",
    "Limits",
    "StreamSpoiledError",
    "TruncatedLayerError",
    "UnknownCompressionError",
    "UnsafeLayerError",
    "flatten",
]
