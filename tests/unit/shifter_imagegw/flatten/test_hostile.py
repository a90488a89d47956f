# SPDX-License-Identifier: BSD-3-Clause
"""Layers that want all of the gateway's memory, or its time for ever."""

from __future__ import annotations

import io
import tarfile
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from shifter_imagegw.flatten import (
    FlattenError,
    LayerError,
    LayerTooLargeError,
    Limits,
    flatten,
    sequential,
)
from shifter_imagegw.flatten.zstd_frames import Frames, NotWantedError

from .layers import Entry, directory, file, flatten_blobs, hard_link, symlink, tar, tree_of

FEW_NAMES = Limits(entries=10_000)


class StoppedError(Exception):
    pass


def stop(_: int) -> None:
    raise StoppedError


def _header(kind: bytes, size: int, name: str = "x") -> bytes:
    info = tarfile.TarInfo(name)
    info.type, info.size = kind, size
    return info.tobuf(tarfile.GNU_FORMAT)


def _extension(kind: bytes, data: bytes) -> bytes:
    return _header(kind, len(data)) + data + bytes(-len(data) % 512)


def _record(key: str, value: str) -> bytes:
    rest = f" {key}={value}\n".encode()
    length = len(rest) + len(str(len(rest)))
    return str(length + (len(str(length)) > len(str(len(rest))))).encode() + rest


def _in_two_passes(folder: Path, limits: Limits, *layers: list[Entry]) -> None:
    paths = []
    for number, layer in enumerate(layers):
        paths.append(folder / f"layer{number}")
        paths[-1].write_bytes(tar(layer))
    blobs = [lambda path=path: path for path in paths]
    sequential.flatten(blobs, io.BytesIO(), lambda _: None, limits)


@pytest.mark.parametrize("kind", [b"x", b"g", b"L", b"K"])
def test_extended_headers_without_end_are_refused(tmp_path, kind):
    one = _extension(kind, _record("comment", "x" * 100_000) if kind in b"xg" else b"n" * 100_000)

    with pytest.raises(LayerError, match="more than 1048576 for one entry make no sense"):
        flatten_blobs([one * 20 + tar([file("a")])], tmp_path)


def test_what_an_extended_header_says_counts_for_one_entry_only(tmp_path):
    one = _extension(b"x", _record("comment", "x" * 100_000))

    stream, _ = flatten_blobs(
        [b"".join(one + _header(b"0", 0, f"f{number}") for number in range(20))], tmp_path
    )

    assert len(tree_of(stream)) == 21


def test_a_size_in_an_extended_header_is_how_many_bytes_are_read(tmp_path):
    """Readers that believe the header's own size see other entries than those that do not."""
    smuggled = _header(b"0", 0, "smuggled")
    blob = _extension(b"x", _record("size", "512")) + _header(b"0", 0, "f") + smuggled

    stream, _ = flatten_blobs([blob], tmp_path)

    assert tree_of(stream)["f"][1] == smuggled
    assert "smuggled" not in tree_of(stream)


def test_a_gzip_header_without_end_is_refused(tmp_path):
    blob = b"\x1f\x8b\x08\x08" + bytes(6) + b"n" * 2_000_000

    with pytest.raises(LayerError, match="layer layer0 is damaged"):
        flatten_blobs([blob], tmp_path)


@pytest.mark.parametrize("name", ["./" * 20_000 + "f", "a/../" * 20_000 + "f"])
def test_a_name_that_takes_a_walk_is_refused(tmp_path, name):
    with pytest.raises(LayerError, match="longer than the 4095 that Linux can open"):
        flatten_blobs([tar([file(name)])], tmp_path)


DEEP = [file(f"{number}/" + "d/" * 2000 + "f") for number in range(30)]


def test_directories_that_are_only_implied_are_counted(tmp_path):
    with pytest.raises(LayerTooLargeError, match="the names in the image are more than 16 MiB"):
        flatten_blobs([tar(DEEP)], tmp_path, FEW_NAMES)


def test_directories_that_are_only_implied_are_counted_in_two_passes(tmp_path):
    deep = [file(f"{number}/" + "d/" * 2000 + "f") for number in range(60)]

    with pytest.raises(LayerTooLargeError, match="the names in the image are more than 16 MiB"):
        _in_two_passes(tmp_path, FEW_NAMES, deep)


def test_targets_of_symbolic_links_are_counted_where_they_are_kept(tmp_path):
    links = [symlink(f"{number}", "t" * 4000) for number in range(5000)]

    with pytest.raises(LayerTooLargeError, match="the names in the image are more than 16 MiB"):
        _in_two_passes(tmp_path, FEW_NAMES, links)


def test_links_that_hide_are_counted_with_their_targets(tmp_path):
    links = [symlink(f"d/{number}", "t" * 4000) for number in range(5000)]

    with pytest.raises(LayerTooLargeError, match="the names in the image are more than 16 MiB"):
        flatten_blobs([tar(links), tar([file("d")])], tmp_path, FEW_NAMES)


def test_limits_are_named_as_the_administrator_knows_them(tmp_path):
    limits = Limits(
        entries=3, entries_setting="MaxEntries", bytes=99_999, bytes_setting="MaxImageSize"
    )

    with pytest.raises(LayerTooLargeError, match=r"more than 3 entries.*MaxEntries\)$"):
        flatten_blobs([tar([file(f"f{number}") for number in range(9)])], tmp_path, limits)
    with pytest.raises(LayerTooLargeError, match=r"more than 97.66 KiB .*MaxImageSize\)$"):
        flatten_blobs([tar([file("f", "x" * 200_000)])], tmp_path, limits)


def test_layers_that_are_too_large_as_blobs_are_refused_before_they_are_fetched():
    limits = Limits(bytes=1 << 30, bytes_setting="MaxImageSize")

    limits.require_possible(1 << 30)
    with pytest.raises(
        LayerTooLargeError,
        match=r"layers are 2 GiB compressed already; an image may have 1 GiB.*MaxImageSize",
    ):
        limits.require_possible(2 << 30)


def test_links_that_lead_ever_deeper_are_refused(tmp_path):
    """Each link leads as deep as a path may go, and the next one begins there."""
    down = "/".join(["d"] * 1500)
    base = [
        directory(down),
        symlink("l1", down),
        symlink("l2", f"l1/{down}"),
        symlink("l3", f"l2/{down}"),
    ]

    with pytest.raises(LayerError, match="deeper than the 4095 bytes that Linux can open"):
        flatten_blobs([tar(base), tar([file("l3/x")])], tmp_path)


def test_a_hard_link_to_a_hard_link_to_a_hard_link_is_the_file(tmp_path):
    chain = [file("0", "content")]
    chain += [hard_link(f"{number}", f"{number - 1}") for number in range(1, 3000)]
    hides = tar([Entry(f".wh.{number}") for number in range(2999)])

    stream, _ = flatten_blobs([tar(chain), hides], tmp_path)

    assert tree_of(stream) == {
        "": ("directory", 0o755, 0),
        "2999": ("file", b"content", 0o644, 0, ("2999",)),
    }


def _flatten_until_stopped(layer: Callable[[], Path]) -> None:
    with pytest.raises(StoppedError):
        flatten([layer], io.BytesIO(), progress=stop)


def test_a_layer_that_never_comes_can_be_given_up(tmp_path):
    never = threading.Event()

    def layer() -> Path:
        never.wait()
        raise FlattenError("given up")

    _flatten_until_stopped(layer)
    never.set()


def test_a_file_of_nothing_but_a_hole_can_be_given_up(tmp_path):
    records = _record("GNU.sparse.size", str(400 << 30)) + _record("GNU.sparse.map", "0,0")
    path = tmp_path / "layer"
    path.write_bytes(_extension(b"x", records) + _header(b"0", 0))
    out = _Null()
    calls = []

    def stop_late(_: int) -> None:
        calls.append(out.written)
        if out.written > 100 << 20:
            raise StoppedError

    with pytest.raises(StoppedError):
        flatten([lambda: path], out, progress=stop_late)

    assert out.written < 200 << 20


def test_the_first_of_two_passes_can_be_given_up(tmp_path):
    path = tmp_path / "layer"
    path.write_bytes(tar([file("f", "x" * 3_000_000)]))
    out = io.BytesIO()

    with pytest.raises(StoppedError):
        sequential.flatten([lambda: path], out, stop, Limits())

    assert out.getvalue() == b""


EMPTY_FRAMES = b"\x50\x2a\x4d\x18\0\0\0\0" * 100_000
EMPTY_BLOCKS = b"\x28\xb5\x2f\xfd\0\x58" + b"\0\0\0" * 300_000 + b"\1\0\0"


@pytest.mark.parametrize("blob", [EMPTY_FRAMES, EMPTY_BLOCKS])
def test_zstd_of_nothing_but_headers_can_be_given_up(tmp_path, blob):
    path = tmp_path / "layer"
    path.write_bytes(blob)
    asked = []

    def is_wanted() -> bool:
        asked.append(True)
        return len(asked) < 20

    with path.open("rb") as opened, pytest.raises(NotWantedError):
        Frames(opened.fileno(), is_wanted).are_whole()


class _Null(io.RawIOBase):
    def __init__(self) -> None:
        self.written = 0

    def write(self, data) -> int:
        self.written += len(data)
        return len(data)
