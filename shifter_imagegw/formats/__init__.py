# SPDX-License-Identifier: BSD-3-Clause
"""What an image is on a system's filesystem: one module per format, and which one is meant."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import BinaryIO, TypeVar

from shifter_imagegw.errors import ConfigError, ConversionError
from shifter_imagegw.formats import ext4, mksquashfs, squashfs, vfs

T = TypeVar("T")

FORMATS = ("squashfs", "ext4", "VFS")  # as .meta files spell them, and the names of images end
DIRECTORY_FORMATS = ("VFS",)  # an image is a directory; of all others, a file

_NO_LONGER = {
    "cramfs": "no file in it may be larger than 16 MiB, and no runtime mounts it: use squashfs",
    "xfs": "images that are there are run, but none are made: use ext4",
}


def spelled(format: str) -> str:
    """The format as .meta files spell it, however the configuration does."""
    return next((known for known in FORMATS if known.lower() == format.lower()), format)


def require_known(format: str) -> None:
    if format in FORMATS:
        return
    problem = f"cannot make images of format {format!r}"
    if format in _NO_LONGER:
        raise ConversionError(f"{problem}: {_NO_LONGER[format]}")
    raise ConversionError(f"{problem}: known are {', '.join(FORMATS)}")


def check_options(format: str, options: Sequence[str]) -> None:
    """Complain, as of the configuration, of a format or options that make no image."""
    format = spelled(format)
    try:
        require_known(format)
        if format == "squashfs":
            mksquashfs.parse(options)
        elif format == "ext4":
            ext4.Ext4Options.from_mke2fs(options)
        else:
            vfs.require_no_options(options)
    except ConversionError as error:
        raise ConfigError(str(error)) from None


def make(
    format: str, write_tar: Callable[[BinaryIO], T], image: Path, options: Sequence[str] = ()
) -> T:
    """Make an image at `image`, which is removed where that fails; give what `write_tar` gives.

    `write_tar` writes a tar stream; see `squashfs.make` for one that must be written twice. Where
    the format is a directory, `image` is one that is there and empty, and is emptied on failure.
    """
    format = spelled(format)
    require_known(format)
    if format == "squashfs":
        return squashfs.make(write_tar, image, options)
    if format == "ext4":
        return ext4.make(write_tar, image, options)
    return vfs.make(write_tar, image, options)


def is_cut_short(format: str, image: Path) -> bool:
    """Whether a delivered image is less than its own first bytes say."""
    format = spelled(format)
    require_known(format)
    if format == "squashfs":
        return squashfs.is_cut_short(image)
    if format == "ext4":
        return ext4.is_cut_short(image)
    return vfs.is_cut_short(image)
