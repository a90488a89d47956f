# SPDX-License-Identifier: BSD-3-Clause
"""From a tar stream to an ext4 filesystem that e2fsck finds nothing wrong with."""

from __future__ import annotations

import hashlib
import os
import random
import resource
import subprocess

import pytest

from shifter_imagegw.errors import ConversionError
from shifter_imagegw.flatten import StreamSpoiledError
from shifter_imagegw.formats.ext4 import is_cut_short, make
from tests.unit.shifter_imagegw.formats.streams import (
    ALL_KINDS,
    directory,
    file,
    hard_link,
    stream,
    symlink,
)


def check(image) -> str:
    """What e2fsck says, which must be that all is well."""
    done = subprocess.run(["e2fsck", "-f", "-n", image], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout
    return done.stdout


def read(image, path: str) -> bytes:
    return subprocess.run(
        ["debugfs", "-R", f'cat "{path}"', image], check=True, capture_output=True
    ).stdout


def field(image, path: str, name: str) -> str:
    """A field of an inode, as debugfs shows it."""
    shown = subprocess.run(
        ["debugfs", "-R", f'stat "{path}"', image], check=True, capture_output=True, text=True
    ).stdout
    return shown.partition(f"{name}: ")[2].split()[0]


def test_whatever_an_image_holds_makes_a_sound_filesystem(tmp_path):
    image = tmp_path / "image"

    make(stream(*ALL_KINDS), image)

    check(image)
    assert read(image, "/usr/bin/program") == b"x" * 10_000
    assert read(image, "/data/sparse") == (bytes(1 << 16) + b"x" * (1 << 16)) * 6 + b"end"
    assert field(image, "/again", "Links") == "3"
    assert field(image, "/usr", "Mode") == "01777"
    assert field(image, "/late", "mtime") == "0x00000005:00000001"  # the second half: 2^32


def test_an_empty_image_makes_a_sound_filesystem(tmp_path):
    make(stream(), tmp_path / "image")

    check(tmp_path / "image")


@pytest.mark.parametrize("seed", range(6))
def test_any_number_and_size_of_files_makes_a_sound_filesystem(tmp_path, seed):
    chance = random.Random(seed)
    files = [
        file(b"d%d/%d" % (chance.randrange(40), number), chance.randbytes(chance.randrange(9000)))
        for number in range(chance.randrange(1500))
    ]

    make(stream(*files), tmp_path / "image")

    check(tmp_path / "image")


def test_more_inodes_than_one_group_holds_get_more_groups(tmp_path):
    names = (b"%d/%d" % (number % 7, number) for number in range(33_000))

    make(stream(*(file(name, b"") for name in names)), tmp_path / "image")

    assert "33017/" in check(tmp_path / "image")  # 7 directories, and 10 of the filesystem's own


def test_a_file_of_more_than_one_extent_and_group_is_sound(tmp_path):
    content = b"x" * (130 << 20)

    make(stream(file(b"large", content)), tmp_path / "image")

    check(tmp_path / "image")
    assert read(tmp_path / "image", "/large") == content


def test_more_subdirectories_than_can_be_counted_are_not_counted(tmp_path, monkeypatch):
    monkeypatch.setattr("shifter_imagegw.formats.ext4_layout.MOST_LINKS", 10)

    make(stream(*(directory(b"many/%d" % number) for number in range(8))), tmp_path / "image")

    assert field(tmp_path / "image", "/many", "Links") == "1"


def test_zeros_take_no_space(tmp_path):
    make(stream(file(b"zeros", bytes(50 << 20))), tmp_path / "image")

    assert (tmp_path / "image").stat().st_size < 2 << 20
    assert field(tmp_path / "image", "/zeros", "Size") == str(50 << 20)


def test_make_gives_what_the_writer_gives(tmp_path):
    assert make(stream(file(b"a"), file(b"b")), tmp_path / "image") == 2


def test_the_same_stream_makes_the_same_bytes_everywhere_and_always(tmp_path):
    make(stream(*ALL_KINDS), tmp_path / "image")

    digest = hashlib.sha256((tmp_path / "image").read_bytes()).hexdigest()

    # Sites compare images by their bytes: let this change with a reason only.
    assert digest == "c24c792554393dcf94b34b433c17a842388d9385aa20e7ca78b1054928d44673"


def test_a_file_that_is_there_is_filled_not_replaced(tmp_path):
    image = tmp_path / "image"
    image.write_bytes(b"x" * (4 << 20))
    before = image.stat().st_ino

    make(stream(file(b"a")), image)

    assert image.stat().st_ino == before  # it may have been laid out for Lustre
    check(image)


def test_a_link_is_not_written_through(tmp_path):
    (tmp_path / "victim").write_text("as it was")
    (tmp_path / "image").symlink_to("victim")

    with pytest.raises(ConversionError, match="cannot create .*image: Too many levels"):
        make(stream(file(b"a")), tmp_path / "image")

    assert (tmp_path / "victim").read_text() == "as it was"


def test_a_full_disk_is_named_and_leaves_no_file(tmp_path):
    _, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (3 << 20, hard))
    try:
        with pytest.raises(ConversionError, match="cannot write .*image: File too large"):
            make(stream(file(b"large", b"x" * (5 << 20))), tmp_path / "image")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))

    assert os.listdir(tmp_path) == []


def test_a_place_that_is_not_there_is_named(tmp_path):
    with pytest.raises(ConversionError, match="cannot create .*/missing/image: No such file"):
        make(stream(file(b"a")), tmp_path / "missing" / "image")


def test_when_the_writer_fails_no_file_is_left(tmp_path):
    def write(out):
        file(b"half", b"x" * 100_000)
        raise ValueError("layer is damaged")

    with pytest.raises(ValueError, match="layer is damaged"):
        make(write, tmp_path / "image")

    assert os.listdir(tmp_path) == []


def test_a_spoiled_stream_is_written_again_from_the_start(tmp_path):
    def write(out):
        stream(file(b"wrong"))(out)
        raise StreamSpoiledError(stream(file(b"right")), "a path is there twice")

    assert make(write, tmp_path / "image") == 1
    make(stream(file(b"right")), tmp_path / "expected")
    assert (tmp_path / "image").read_bytes() == (tmp_path / "expected").read_bytes()


@pytest.mark.parametrize(
    ("entries", "message"),
    [
        ([file(b"a"), file(b"a/b")], "something below 'a', a file"),
        ([symlink(b"a", b"/etc"), file(b"a/passwd")], "something below 'a', a file"),
        ([file(b"a"), directory(b"a")], "something below 'a', a file"),
        ([file(b"a"), symlink(b"a", b"b")], "has 'a' twice"),
        ([hard_link(b"a", b"missing")], "'a' leads to no file: 'missing'"),
        ([directory(b"d"), hard_link(b"a", b"d")], "'a' leads to no file: 'd'"),
        ([symlink(b"a", b"x" * 4096)], "'a' has a target too long"),
    ],
)  # fmt: skip
def test_what_cannot_be_is_refused_by_name(tmp_path, entries, message):
    with pytest.raises(ConversionError, match=message):
        make(stream(*entries), tmp_path / "image")


def test_a_file_of_more_names_than_ext4_can_count_is_refused(tmp_path):
    links = [hard_link(b"%d" % number, b"file") for number in range(65_000)]

    with pytest.raises(ConversionError, match="'file' has more than 65000 names"):
        make(stream(file(b"file"), *links), tmp_path / "image")


def test_an_image_is_cut_short_once_its_last_byte_is_gone(tmp_path):
    image = tmp_path / "image"
    make(stream(file(b"a")), image)
    size = image.stat().st_size
    assert not is_cut_short(image)

    os.truncate(image, size - 1)

    assert is_cut_short(image)


@pytest.mark.parametrize("size", [0, 1, 2047])
def test_what_has_no_superblock_is_cut_short(tmp_path, size):
    (tmp_path / "image").write_bytes(bytes(size))

    assert is_cut_short(tmp_path / "image")


@pytest.mark.parametrize(
    "arguments",
    [[], ["-b", "4096", "-m", "0"], ["-q", "-F", "-t", "ext4"], ["-O", "^has_journal", "-N", "9"]],
)
def test_options_of_mke2fs_that_hold_anyway_change_nothing(tmp_path, arguments):
    make(stream(file(b"a")), tmp_path / "plain")

    make(stream(file(b"a")), tmp_path / "image", arguments)

    assert (tmp_path / "image").read_bytes() == (tmp_path / "plain").read_bytes()


def test_the_site_may_label_its_images(tmp_path):
    make(stream(file(b"a")), tmp_path / "image", ["-L", "site-image"])

    shown = subprocess.run(
        ["dumpe2fs", "-h", tmp_path / "image"], check=True, capture_output=True, text=True
    ).stdout
    assert "Filesystem volume name:   site-image\n" in shown


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["-j"], "ConverterOptions.ext4: '-j' is not understood: images are sized to fit"),
        (["-b", "1024"], "-b must be 4096 or 4k or 4K, not '1024'"),
        (["-m"], "-m must be a number, not ''"),
        (["-L", "x" * 17], "-L must have a label of up to 16 bytes"),
    ],
)
def test_an_option_that_cannot_be_followed_is_named(tmp_path, arguments, message):
    with pytest.raises(ConversionError, match=message):
        make(stream(file(b"a")), tmp_path / "image", arguments)
