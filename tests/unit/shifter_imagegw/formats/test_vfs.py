# SPDX-License-Identifier: BSD-3-Clause
"""From a tar stream to a plain directory, and to nothing outside of it."""

from __future__ import annotations

import os
import resource
import stat

import pytest

from shifter_imagegw.errors import ConversionError
from shifter_imagegw.flatten import StreamSpoiledError
from shifter_imagegw.formats.vfs import is_cut_short, make
from tests.unit.shifter_imagegw.formats.streams import (
    ALL_KINDS,
    directory,
    file,
    hard_link,
    stream,
    symlink,
)


@pytest.fixture
def image(tmp_path):
    path = tmp_path / "image"
    path.mkdir()
    return path


def mode(path) -> int:
    return stat.S_IMODE(path.lstat().st_mode)


def test_all_that_an_image_may_hold_is_there(image):
    make(stream(*ALL_KINDS), image)

    assert (image / "usr/bin/program").read_bytes() == b"x" * 10_000
    assert (image / "data/sparse").read_bytes() == (bytes(1 << 16) + b"x" * (1 << 16)) * 6 + b"end"
    assert os.readlink(image / "longest") == "l" * 4000
    assert (image / "again").samefile(image / "usr/again")
    assert os.path.exists(os.fsencode(image) + b"/ odd\nname\xff\\ ")
    assert list((image / "nothing/in/it").iterdir()) == []
    assert len(list((image / "many").iterdir())) == 500


def test_modes_and_times_are_those_of_the_stream_whatever_the_umask(image):
    umask = os.umask(0o077)
    try:
        make(stream(*ALL_KINDS), image)
    finally:
        os.umask(umask)

    assert (mode(image / "usr/bin/program"), mode(image / "empty")) == (0o755, 0o644)
    assert (mode(image / "usr"), (image / "usr").stat().st_mtime) == (0o1777, 1_700_000_000)
    assert (mode(image / "data"), (image / "data").stat().st_mtime) == (0o755, 0)  # implied
    assert (image / "bin").lstat().st_mtime == 7


def test_the_directory_itself_is_nobodys_but_the_gateways(image):
    make(stream(directory(b"", 0o777)), image)

    assert mode(image) == 0o700


def test_zeros_take_no_space(image):
    make(stream(file(b"zeros", bytes(50 << 20))), image)

    found = (image / "zeros").stat()
    assert (found.st_size, found.st_blocks) == (50 << 20, 0)


def test_a_tree_deeper_than_descriptors_are_many_is_unpacked_and_removed(image):
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (256, hard))
    try:
        with pytest.raises(ConversionError, match="File exists"):
            make(stream(file(b"/".join([b"d"] * 400)), file(b"a"), file(b"a")), image)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))

    assert os.listdir(image) == []


@pytest.mark.parametrize(
    "entries",
    [
        [symlink(b"a", b".."), file(b"a/escaped")],
        [symlink(b"a", b"/"), directory(b"a/escaped")],
        [symlink(b"a", b".."), symlink(b"a/escaped", b"x")],
        [symlink(b"a", b".."), file(b"b"), hard_link(b"a/escaped", b"b")],
        [symlink(b"a", b".."), hard_link(b"b", b"a/outside")],
        [file(b"../escaped")],
        [file(b"a/../../escaped")],
        [file(b"b"), hard_link(b"../escaped", b"b")],
        [hard_link(b"b", b"../outside")],
    ],
)
def test_nothing_is_written_or_linked_outside(tmp_path, image, entries):
    (tmp_path / "outside").write_text("secret")

    with pytest.raises(ConversionError):
        make(stream(*entries), image)

    assert sorted(os.listdir(tmp_path)) == ["image", "outside"]
    assert not os.path.lexists("/escaped")
    assert os.listdir(image) == []


def test_a_file_does_not_replace_what_is_there(image):
    with pytest.raises(ConversionError, match="cannot write 'a' into .*: File exists"):
        make(stream(symlink(b"a", b"/etc/passwd"), file(b"a", b"root")), image)


def test_a_file_that_is_too_large_is_named_and_nothing_is_left(image):
    _, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, hard))
    try:
        with pytest.raises(ConversionError, match="cannot write 'd.*File too large"):
            make(stream(file(b"d/large", b"x" * (5 << 20))), image)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))

    assert os.listdir(image) == []


def test_a_spoiled_stream_is_unpacked_again_into_an_empty_directory(image):
    def write(out):
        stream(file(b"wrong/deep"))(out)
        raise StreamSpoiledError(stream(file(b"right")), "a path is there twice")

    assert make(write, image) == 1
    assert os.listdir(image) == ["right"]


def test_no_descriptor_is_left(image):
    before = os.listdir("/proc/self/fd")

    make(stream(*ALL_KINDS), image)

    assert os.listdir("/proc/self/fd") == before


def test_an_empty_directory_is_cut_short(image):
    assert is_cut_short(image)

    make(stream(file(b"a")), image)

    assert not is_cut_short(image)


def test_there_are_no_options(image):
    with pytest.raises(ConversionError, match="ConverterOptions.VFS holds '-x', but a directory"):
        make(stream(file(b"a")), image, ["-x"])
