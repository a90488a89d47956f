# SPDX-License-Identifier: BSD-3-Clause
"""What an image is on a system's filesystem: one module per format, and which one is meant."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import BinaryIO, TypeVar

from shifter_imagegw.errors import ConversionError
from shifter_imagegw.formats import squashfs

T = TypeVar("T")

FORMATS = ("squashfs",)  # as .meta files and the configuration spell them


def require_known(format: str) -> None:
    if format not in FORMATS:
        raise ConversionError(
            f"cannot make images of format {format!r}: known are {', '.join(FORMATS)}"
        )


def make(
    format: str, write_tar: Callable[[BinaryIO], T], image: Path, options: Sequence[str] = ()
) -> T:
    """Make an image at `image`, which is removed where that fails; give what `write_tar` gives.

    `write_tar` writes a tar stream; see `squashfs.make` for one that must be written twice.
    """
    require_known(format)
    return squashfs.make(write_tar, image, options)


def is_cut_short(format: str, image: Path) -> bool:
    """Whether a delivered image is less than its own first bytes say."""
    require_known(format)
    return squashfs.is_cut_short(image)
