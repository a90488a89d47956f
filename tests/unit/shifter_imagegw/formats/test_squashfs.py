# SPDX-License-Identifier: BSD-3-Clause
"""From a tar stream to a squashfs file by the real tar2sqfs, and what the site may choose."""

from __future__ import annotations

import io
import struct
import tarfile

import pytest

from shifter_imagegw.errors import ConversionError
from shifter_imagegw.flatten import StreamSpoiledError
from shifter_imagegw.formats.mksquashfs import SquashfsOptions
from shifter_imagegw.formats.squashfs import is_cut_short, make

COMPRESSORS = {1: "gzip", 3: "lzo", 4: "xz", 5: "lz4", 6: "zstd"}


def _tar(content: bytes, count: int = 1) -> bytes:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as archive:
        for number in range(count):
            info = tarfile.TarInfo(f"file{number}")
            info.size, info.mtime = len(content), 1_700_000_000
            archive.addfile(info, io.BytesIO(content))
    return stream.getvalue()


def _superblock(image):
    """Give compressor and block size, as the kernel reads them."""
    fields = struct.unpack_from("<5I6H", image.read_bytes())
    assert fields[0] == 0x73717368
    return COMPRESSORS[fields[5]], fields[3]


def test_the_default_is_zstd_with_blocks_of_128_kib(tmp_path):
    make(lambda out: out.write(_tar(b"x")), tmp_path / "image")

    assert _superblock(tmp_path / "image") == ("zstd", 128 << 10)


def test_make_gives_what_the_writer_gives(tmp_path):
    def write(out):
        out.write(_tar(b"x"))
        return "report"

    assert make(write, tmp_path / "image") == "report"


def test_the_same_stream_makes_the_same_bytes_whatever_the_time_and_the_number_of_jobs(tmp_path):
    stream = _tar(b"some content " * 100_000, count=8)

    images = [tmp_path / str(jobs) for jobs in (1, 2, 3, 2)]
    for image in images:
        make(lambda out: out.write(stream), image, SquashfsOptions(jobs=int(image.name)))

    assert len({image.read_bytes() for image in images}) == 1
    assert struct.unpack_from("<I", images[0].read_bytes(), 8) == (0,)  # time of creation


@pytest.mark.parametrize(
    ("arguments", "seen"),
    [
        ([], ("zstd", 128 << 10)),
        (["-no-xattrs"], ("zstd", 128 << 10)),
        (["-comp", "gzip", "-Xcompression-level", "1"], ("gzip", 128 << 10)),
        (["-comp", "lz4", "-b", "256K"], ("lz4", 256 << 10)),
        (["-comp", "xz", "-b", "1M", "-processors", "1"], ("xz", 1 << 20)),
    ],
)
def test_options_of_mksquashfs_are_understood(tmp_path, arguments, seen):
    make(lambda out: out.write(_tar(b"x" * 1000)), tmp_path / "image", arguments)

    assert _superblock(tmp_path / "image") == seen


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ["-Xturbo"],
            "'-Xturbo' is no option of mksquashfs that is known here; known are -Xalgorithm",
        ),
        (["-comp", "rar"], "-comp must be one of gzip, lz4, lzo, xz, zstd, not 'rar'"),
        (["-b", "big"], "-b must be a number, not 'big'"),
        (["-b"], "-b needs a value"),
    ],
)
def test_an_option_that_is_not_understood_is_named(tmp_path, arguments, message):
    with pytest.raises(ConversionError, match=message):
        make(lambda out: out.write(_tar(b"x")), tmp_path / "image", arguments)


def test_what_the_tool_cannot_read_fails_and_leaves_no_file(tmp_path):
    with pytest.raises(ConversionError, match="tar2sqfs failed with exit status 1"):
        make(lambda out: out.write(b"no tar" * 1000), tmp_path / "image")

    assert not (tmp_path / "image").exists()


def test_a_place_that_cannot_be_written_gives_the_tools_reason(tmp_path):
    with pytest.raises(ConversionError, match="cannot create .*/missing/image: No such file"):
        make(lambda out: out.write(_tar(b"x" * (4 << 20))), tmp_path / "missing" / "image")


def test_when_the_writer_fails_no_file_is_left(tmp_path):
    def write(out):
        out.write(_tar(b"x" * 100_000)[:50_000])
        raise ValueError("layer is damaged")

    with pytest.raises(ValueError, match="layer is damaged"):
        make(write, tmp_path / "image")

    assert not (tmp_path / "image").exists()


def test_a_spoiled_stream_is_written_again_into_a_new_file(tmp_path):
    def write_again(out):
        out.write(_tar(b"right"))
        return "second report"

    def write(out):
        out.write(_tar(b"wrong")[:1024])
        raise StreamSpoiledError(write_again, "a path is there twice")

    assert make(write, tmp_path / "image") == "second report"
    make(lambda out: out.write(_tar(b"right")), tmp_path / "expected")
    assert (tmp_path / "image").read_bytes() == (tmp_path / "expected").read_bytes()


def test_an_image_is_cut_short_once_its_last_byte_is_gone(tmp_path):
    image = tmp_path / "image"
    make(lambda out: out.write(_tar(b"content")), image)
    (used,) = struct.unpack_from("<Q", image.read_bytes(), 40)
    assert not is_cut_short(image)

    image.write_bytes(image.read_bytes()[: used - 1])

    assert is_cut_short(image)
