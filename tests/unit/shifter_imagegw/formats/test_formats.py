# SPDX-License-Identifier: BSD-3-Clause
"""Which formats there are, and what is said of those that there are not."""

from __future__ import annotations

import pytest

from shifter_common.metadata import IMAGE_FORMATS
from shifter_imagegw import formats
from shifter_imagegw.errors import ConfigError, ConversionError
from tests.unit.shifter_imagegw.formats.streams import file, stream


def test_formats_are_spelled_as_in_meta_files():
    assert set(formats.DIRECTORY_FORMATS) <= set(formats.FORMATS) <= set(IMAGE_FORMATS)


@pytest.mark.parametrize(
    ("typed", "spelled"), [("vfs", "VFS"), ("SquashFS", "squashfs"), ("EXT4", "ext4"), ("x", "x")]
)
def test_however_the_configuration_spells_a_format_it_is_found(typed, spelled):
    assert formats.spelled(typed) == spelled


@pytest.mark.parametrize("format", formats.FORMATS)
def test_each_format_makes_an_image_that_is_whole(tmp_path, format):
    image = tmp_path / "image"
    if format in formats.DIRECTORY_FORMATS:
        image.mkdir()

    formats.make(format, stream(file(b"a")), image)

    assert not formats.is_cut_short(format, image)


@pytest.mark.parametrize(
    ("format", "message"),
    [
        ("cramfs", "cannot make images of format 'cramfs': no file in it may be larger .*squashfs"),
        ("xfs", "cannot make images of format 'xfs': .*use ext4"),
        ("iso", "cannot make images of format 'iso': known are squashfs, ext4, VFS"),
    ],
)
def test_a_format_that_cannot_be_made_is_refused_by_name(tmp_path, format, message):
    with pytest.raises(ConversionError, match=message):
        formats.make(format, stream(), tmp_path / "image")
    with pytest.raises(ConfigError, match=message):
        formats.check_options(format, [])


@pytest.mark.parametrize(
    ("format", "options", "message"),
    [
        ("squashfs", ["-noI"], "ConverterOptions.squashfs: -noI cannot be followed"),
        ("ext4", ["-j"], "ConverterOptions.ext4: '-j'"),
        ("vfs", ["-x"], "ConverterOptions.VFS holds '-x'"),
    ],
)
def test_options_are_checked_before_any_image_is_made(format, options, message):
    with pytest.raises(ConfigError, match=message):
        formats.check_options(format, options)


def test_options_that_can_be_followed_are_no_reason_to_complain():
    formats.check_options("squashfs", ["-comp", "xz", "-no-xattrs"])
    formats.check_options("ext4", ["-L", "site"])
    formats.check_options("VFS", [])
