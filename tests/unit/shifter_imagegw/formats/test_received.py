# SPDX-License-Identifier: BSD-3-Clause
"""A tar stream that is read while it is written, in pieces of any size."""

from __future__ import annotations

import io
import tarfile

import pytest

from shifter_imagegw.errors import ConversionError
from shifter_imagegw.formats.received import Received
from tests.unit.shifter_imagegw.formats.streams import ALL_KINDS, directory, file, stream


class Seen:
    """A tree that notes what it is told."""

    def __init__(self) -> None:
        self.calls: list[tuple[object, ...]] = []
        self._content = b""

    def directory(self, path, mode, mtime):
        self.calls.append(("directory", path, mode, mtime))

    def symlink(self, path, target, mtime):
        self.calls.append(("symlink", path, target, mtime))

    def hard_link(self, path, target):
        self.calls.append(("hard link", path, target))

    def begin_file(self, path, mode, mtime, size):
        self.calls.append(("file", path, mode, mtime, size))
        self._content = b""

    def write(self, data):
        self._content += data

    def end_file(self):
        self.calls.append((self._content,))


def written(*entries) -> bytes:
    out = io.BytesIO()
    stream(*entries)(out)
    return out.getvalue()


def seen_in(content: bytes, piece: int = 1 << 20) -> list[tuple[object, ...]]:
    tree = Seen()
    received = Received(tree)
    for start in range(0, len(content), piece):
        received.write(content[start : start + piece])
    received.require_complete()
    return tree.calls


def test_every_entry_is_told_with_all_that_is_known_of_it():
    content = written(file(b"a/b", b"abc", 0o755, 9), directory(b"a", 0o1777, 5), directory(b""))

    assert seen_in(content) == [
        ("file", b"a/b", 0o755, 9, 3),
        (b"abc",),
        ("directory", b"a", 0o1777, 5),
        ("directory", b"", 0o755, 7),
    ]


@pytest.mark.parametrize("piece", [511, 512, 513, 4097])
def test_the_size_of_the_pieces_makes_no_difference(piece):
    content = written(*ALL_KINDS)

    assert seen_in(content, piece) == seen_in(content)


def test_single_bytes_make_no_difference():
    content = written(file(b"n" * 300, b"abc"), directory(b"d"))

    assert seen_in(content, 1) == seen_in(content)


def test_a_size_beyond_what_octal_digits_hold_is_read():
    tar = tarfile.TarInfo("large")
    tar.size = 9 << 30
    tree = Seen()

    Received(tree).write(tar.tobuf(tarfile.GNU_FORMAT))

    assert tree.calls == [("file", b"large", 0o644, 0, 9 << 30)]


@pytest.mark.parametrize("end", [100, 512, 700, 1024, 1536])
def test_a_stream_that_breaks_off_is_no_whole_image(end):
    with pytest.raises(ConversionError, match="tar stream is truncated"):
        seen_in(written(file(b"a", b"x" * 600))[:end])


@pytest.mark.parametrize(
    "path",
    ["../a", "a/../b", "a//b", "a/./b", "./../a"],
)
def test_a_path_that_leads_elsewhere_is_refused(path):
    with pytest.raises(ConversionError, match="unsafe path"):
        seen_in(tarfile.TarInfo(path).tobuf(tarfile.GNU_FORMAT))


@pytest.mark.parametrize("kind", [tarfile.CHRTYPE, tarfile.BLKTYPE, tarfile.FIFOTYPE, b"x"])
def test_what_the_flattener_never_writes_is_refused(kind):
    tar = tarfile.TarInfo("thing")
    tar.type = kind

    with pytest.raises(ConversionError, match="'thing' is of type .*, which no image may hold"):
        seen_in(tar.tobuf(tarfile.GNU_FORMAT))


def test_what_is_no_tar_stream_is_refused():
    with pytest.raises(ConversionError, match="damaged: an entry has no header"):
        seen_in(b"no tar" * 1000)
