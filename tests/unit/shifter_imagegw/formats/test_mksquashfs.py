# SPDX-License-Identifier: BSD-3-Clause
"""What each option of mksquashfs comes to: the same for tar2sqfs, nothing, or a refusal."""

from __future__ import annotations

import re
import subprocess

import pytest

from shifter_imagegw.errors import ConversionError
from shifter_imagegw.formats import mksquashfs
from shifter_imagegw.formats.mksquashfs import parse
from shifter_imagegw.formats.squashfs import make
from tests.unit.shifter_imagegw.formats.streams import file, stream


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ("-comp gzip -Xcompression-level 1", "--compressor=gzip --comp-extra=level=1"),
        ("-Xcompression-level 19", "--compressor=zstd --comp-extra=level=19"),
        ("-comp xz -Xdict-size 75% -Xbcj x86,arm", "--comp-extra=x86,arm,dictsize=98304"),
        ("-comp xz -Xdict-size 37.5%", "--comp-extra=dictsize=49152"),
        ("-Xdict-size 8K -comp xz -b 64K", "--comp-extra=dictsize=8192"),
        ("-Xhc -comp lz4", "--compressor=lz4 --comp-extra=hc"),
        ("-comp lzo -Xalgorithm lzo1x_999", "--comp-extra=algorithm=lzo1x_999"),
        ("-comp gzip -Xwindow-size 12", "--comp-extra=window=12"),
        ("-comp gzip -Xstrategy huffman_only,fixed", "--comp-extra=huffman,fixed"),
        ("-b 256K -processors 3", "--block-size=262144 --num-jobs=3"),
        ("-exports -no-tailends", "--exportable --no-tail-packing"),
    ],
)
def test_what_tar2sqfs_can_do_is_said_in_its_words(tmp_path, arguments, said):
    options = parse(arguments.split())

    assert set(said.split()) <= set(options.arguments())
    make(stream(file(b"a", b"x" * 5000)), tmp_path / "image", options)  # and it understands


@pytest.mark.parametrize(
    "arguments",
    ["-noappend -all-root -no-xattrs -no-progress -quiet -no-exports -no-duplicates",
     "-root-owned -info -no-recovery -exit-on-error -reproducible -always-use-fragments -no-sparse",
     "-mem 2G -mkfs-time 0 -force-uid 0 -force-gid 0 -root-uid 0"],
)  # fmt: skip
def test_what_holds_anyway_changes_nothing(arguments):
    assert parse(arguments.split()) == parse([])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("-noI", "-noI cannot be followed: tar2sqfs compresses .*: use -comp lz4"),
        ("-no-fragments", "-no-fragments cannot be followed: .* tar2sqfs, which cannot do that"),
        ("-xattrs", "-xattrs cannot be followed: .*use -no-xattrs"),
        ("-e var/cache", "-e cannot be followed: it would change what is in the image"),
        ("-sort /etc/sort", "-sort cannot be followed: it is about files that are packed"),
        ("-root-becomes old", "-root-becomes cannot be followed: .*never appended to"),
        ("-force-uid 5", "-force-uid is always 0 here, never '5': remove it"),
        ("-mkfs-time 99", "-mkfs-time is always 0 here"),
        ("-comp rar", "-comp must be one of gzip, lz4, lzo, xz, zstd, not 'rar'"),
        ("-comp lz4 -Xcompression-level 3", "the compressor lz4 has no -Xcompression-level"),
        ("-comp zstd -Xcompression-level 23", "of zstd must be 1 to 22, not 23"),
        ("-comp gzip -Xhc", "-Xhc is no option of the compressor gzip"),
        ("-b 100K", "-b must be a power of two from 4K to 1M, not 102400"),
        ("-b 2M", "-b must be a power of two from 4K to 1M"),
        ("-Xwindow-size 16 -comp gzip", "-Xwindow-size must be 8 to 15, not 16"),
        ("-Xstrategy best -comp gzip", "-Xstrategy must be one of default, .* not 'best'"),
        ("-comp lzo -Xalgorithm lzo1x_1", "-Xalgorithm must be lzo1x_999, not 'lzo1x_1'"),
        ("-comp xz -Xdict-size 40%", "-Xdict-size must be a power of two, .* not 52428 bytes"),
        ("-comp xz -Xdict-size 1M", "-Xdict-size must be a power of two, .* not 1048576 bytes"),
        ("-comp xz -Xdict-size 0", "-Xdict-size must be a power of two"),
        ("-processors", "-processors needs a value"),
        ("-processors many", "-processors must be a number, not 'many'"),
        ("--comp gzip", "'--comp' is no option of mksquashfs that is known here"),
    ],
)
def test_what_cannot_be_followed_is_refused_by_name(arguments, message):
    with pytest.raises(ConversionError, match=f"^ConverterOptions.squashfs: .*{message}"):
        parse(arguments.split())


def test_every_option_of_the_mksquashfs_that_is_installed_is_known():
    shown = subprocess.run(["mksquashfs", "-help"], capture_output=True, text=True)
    options = set(re.findall(r"^\s*(-[A-Za-z][\w-]*)", shown.stdout + shown.stderr, re.MULTILINE))
    known = {
        *mksquashfs._ALWAYS_SO,
        *mksquashfs._ALWAYS_SO_WITH,
        *mksquashfs._UNDERSTOOD,
        *mksquashfs._REFUSED,
    }

    assert len(options) > 80
    assert options - known == set()
