# SPDX-License-Identifier: BSD-3-Clause
"""What can be wrong with a layer."""

from __future__ import annotations

from shifter_common.errors import ShifterError


class FlattenError(ShifterError):
    """The layers of an image could not be made into one tree."""


class LayerError(FlattenError):
    """A layer cannot be read; the text names it and, where there is one, the entry."""


class UnknownCompressionError(LayerError):
    """Neither a tar archive nor compressed in a way that we know."""


class TruncatedLayerError(LayerError):
    """The layer ends in the middle of something."""


class LayerTooLargeError(LayerError):
    """The layer expands beyond the limits, as a decompression bomb does."""


class UnsafeLayerError(LayerError):
    """A layer tries to leave the tree."""
