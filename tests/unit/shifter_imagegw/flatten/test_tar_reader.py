# SPDX-License-Identifier: BSD-3-Clause
"""Formats of archives and of compression that layers come in, sound and broken."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import random
import tarfile
import zlib

import pytest
import zstandard

from shifter_imagegw.flatten import (
    LayerError,
    LayerTooLargeError,
    Limits,
    TruncatedLayerError,
    UnknownCompressionError,
)

from .layers import directory, file, flatten_blobs, hard_link, symlink, tar, tree_of

ENTRIES = [
    directory("d", 0o755),
    file("d/f", "content" * 3000),
    hard_link("h", "d/f"),
    symlink("s", "d/f"),
    file("n" * 200 + "/" + "m" * 200, "long"),
]


def _tree(blob, tmp_path):
    return tree_of(flatten_blobs([blob], tmp_path)[0])


def _zstd(data: bytes) -> bytes:
    return zstandard.ZstdCompressor(write_checksum=True).compress(data)


def _streamed_zstd(data: bytes) -> bytes:
    """As `docker buildx` writes it: without the size of the content."""
    compressor = zstandard.ZstdCompressor().compressobj()
    return compressor.compress(data) + compressor.flush()


@pytest.mark.parametrize("format", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_every_tar_format_is_read(tmp_path, format):
    entries = ENTRIES[:4] if format == tarfile.USTAR_FORMAT else ENTRIES
    entries = [*entries, file("p" * 90 + "/" + "q" * 90, "prefix")]

    assert _tree(tar(entries, format), tmp_path) == _tree(tar(entries), tmp_path)


@pytest.mark.parametrize(
    "compress", [gzip.compress, _zstd, _streamed_zstd, lzma.compress, bz2.compress]
)
def test_every_compression_is_told_by_its_magic_bytes(tmp_path, compress):
    plain = tar(ENTRIES)

    assert _tree(compress(plain), tmp_path) == _tree(plain, tmp_path)


@pytest.mark.parametrize("compress", [gzip.compress, _zstd, _streamed_zstd, lzma.compress])
def test_several_compressed_members_in_one_blob_are_one_layer(tmp_path, compress):
    plain = tar(ENTRIES)
    blob = compress(plain[:700]) + compress(b"") + compress(plain[700:])

    assert _tree(blob, tmp_path) == _tree(plain, tmp_path)


def test_xz_streams_may_have_padding_between_them(tmp_path):
    plain = tar(ENTRIES)
    blob = lzma.compress(plain[:700]) + bytes(8) + lzma.compress(plain[700:]) + bytes(4)

    assert _tree(blob, tmp_path) == _tree(plain, tmp_path)


def test_xz_that_asks_for_all_memory_is_refused(tmp_path):
    blob = bytearray(lzma.compress(tar(ENTRIES)))
    # A dictionary of 4 GiB (xz file format, 3.1 and 5.3.1), and the checksum of the header anew.
    end_of_header = 12 + (blob[12] + 1) * 4
    blob[blob.index(b"\x21\x01", 12) + 2] = 40
    checksum = zlib.crc32(blob[12 : end_of_header - 4])
    blob[end_of_header - 4 : end_of_header] = checksum.to_bytes(4, "little")

    with pytest.raises(LayerError, match="layer layer0 is damaged: Memory usage limit exceeded"):
        _tree(bytes(blob), tmp_path)


def test_a_skippable_zstd_frame_is_skipped(tmp_path):
    plain = tar(ENTRIES)
    blob = b"\x50\x2a\x4d\x18\x03\x00\x00\x00xyz" + _zstd(plain)

    assert _tree(blob, tmp_path) == _tree(plain, tmp_path)


@pytest.mark.parametrize("compress", [gzip.compress, _zstd, _streamed_zstd, lzma.compress])
def test_a_truncated_compressed_layer_is_refused_by_name(tmp_path, compress):
    blob = compress(tar(ENTRIES))

    for length in (20, len(blob) // 2, len(blob) - 1):
        with pytest.raises(LayerError, match="layer layer0 is (truncated|damaged)"):
            _tree(blob[:length], tmp_path)


@pytest.mark.parametrize("length", [512 + 100, 1024 + 512, 1024 + 511 + 3000])
def test_a_truncated_tar_is_refused_and_the_entry_named(tmp_path, length):
    blob = tar([directory("d"), file("d/f", "x" * 5000)])

    with pytest.raises(TruncatedLayerError, match="layer layer0 is truncated: it ends inside"):
        _tree(blob[:length], tmp_path)


def test_missing_blocks_at_the_end_are_no_error(tmp_path):
    blob = tar([file("a", "x")])[: 512 + 512]

    assert "a" in _tree(blob, tmp_path)


def test_what_follows_the_end_of_the_archive_is_ignored(tmp_path):
    assert set(_tree(tar([file("a")]) + tar([file("b")]), tmp_path)) == {"", "a"}


def test_an_empty_layer_adds_nothing(tmp_path):
    assert set(_tree(b"", tmp_path)) == {""}
    assert set(_tree(gzip.compress(bytes(1024)), tmp_path)) == {""}


def test_what_is_no_archive_is_refused(tmp_path):
    with pytest.raises(UnknownCompressionError, match="layer layer0 is neither a tar archive nor"):
        _tree(b"<html>404 not found</html>", tmp_path)


def test_garbage_inside_a_compressed_layer_is_refused(tmp_path):
    with pytest.raises(LayerError, match="layer layer0 is not a valid tar archive"):
        _tree(gzip.compress(b"garbage" * 200), tmp_path)


def test_garbage_after_an_entry_is_refused_and_the_entry_named(tmp_path):
    blob = tar([file("good")])[:512] + b"garbage" * 200

    with pytest.raises(LayerError, match="wrong checksum after 'good'"):
        _tree(blob, tmp_path)


def test_a_layer_that_expands_too_much_is_refused(tmp_path):
    blob = gzip.compress(tar([file("zeros", "\0" * 5_000_000)]))

    with pytest.raises(LayerTooLargeError, match="decompression bomb"):
        flatten_blobs([blob], tmp_path, Limits(expansion=100, expansion_from=1 << 20))


def test_an_image_larger_than_allowed_is_refused(tmp_path):
    with pytest.raises(LayerTooLargeError, match="layer layer0 brings the image to more than"):
        flatten_blobs([tar([file("a", "x" * 3_000_000)])], tmp_path, Limits(bytes=2_000_000))


def test_a_zstd_window_that_needs_too_much_memory_is_refused(tmp_path):
    parameters = zstandard.ZstdCompressionParameters.from_level(1, window_log=28)
    compressor = zstandard.ZstdCompressor(compression_params=parameters).compressobj()
    blob = compressor.compress(tar([file("a", "x")])) + compressor.flush()

    with pytest.raises(LayerError, match="layer layer0 is damaged"):
        _tree(blob, tmp_path)


def test_times_of_extended_headers_lose_their_fraction(tmp_path):
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w", format=tarfile.PAX_FORMAT) as archive:
        info = tarfile.TarInfo("a")
        info.mtime = 1700000000.75
        archive.addfile(info)

    assert _tree(stream.getvalue(), tmp_path)["a"][3] == 1700000000


@pytest.mark.parametrize(("mtime", "seen"), [(-5, 0), (1 << 40, (1 << 32) - 1)])
def test_times_that_squashfs_cannot_hold_become_the_nearest(tmp_path, mtime, seen):
    assert _tree(tar([file("a", mtime=mtime)]), tmp_path)["a"][3] == seen


def _pax(records: dict[str, str], entry_name: str = "short", content: bytes = b"") -> bytes:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w", format=tarfile.PAX_FORMAT) as archive:
        info = tarfile.TarInfo(entry_name)
        info.size = len(content)
        info.pax_headers = records
        archive.addfile(info, io.BytesIO(content))
    return stream.getvalue()


def test_a_path_in_an_extended_header_is_held_to_the_same_rules(tmp_path):
    with pytest.raises(LayerError, match="leaves the image"):
        _tree(_pax({"path": "../../etc/passwd"}), tmp_path)


def test_an_extended_header_without_end_is_refused(tmp_path):
    header = tarfile.TarInfo("x")
    header.type, header.size = tarfile.XHDTYPE, 1 << 40

    with pytest.raises(LayerError, match="extended header of 1099511627776 bytes"):
        _tree(header.tobuf(tarfile.GNU_FORMAT) + bytes(1024), tmp_path)


@pytest.mark.parametrize("data", [b"99 a=b\n", b"x a=b\n", b"5 ab=\n", b"5 ab\n", b"0 a=b\n"])
def test_a_damaged_extended_header_is_refused(tmp_path, data):
    header = tarfile.TarInfo("x")
    header.type, header.size = tarfile.XHDTYPE, len(data)
    blob = header.tobuf() + data.ljust(512, b"\0") + tar([file("a")])

    with pytest.raises(LayerError, match="damaged extended header"):
        _tree(blob, tmp_path)


def test_global_headers_are_read_over(tmp_path):
    stream = io.BytesIO()
    headers = {"comment": "0123abc", "path": "everything"}
    with tarfile.open(
        fileobj=stream, mode="w", format=tarfile.PAX_FORMAT, pax_headers=headers
    ) as archive:
        archive.addfile(tarfile.TarInfo("a"))

    assert set(_tree(stream.getvalue(), tmp_path)) == {"", "a"}


def test_a_size_that_is_no_octal_number_is_read_in_base_256(tmp_path):
    info = tarfile.TarInfo("a")
    info.size = 5
    block = bytearray(info.tobuf(tarfile.GNU_FORMAT))
    block[124:136] = b"\x80" + (5).to_bytes(11, "big")
    block[148:156] = b"%06o\0 " % (sum(block[:148]) + sum(block[156:]) + 256)

    assert _tree(bytes(block) + b"12345".ljust(512, b"\0"), tmp_path)["a"][1] == b"12345"


def test_a_directory_of_the_seventh_edition_ends_with_a_slash(tmp_path):
    info = tarfile.TarInfo("d")
    block = bytearray(info.tobuf(tarfile.GNU_FORMAT))
    block[:2], block[156:157], block[257:265] = b"d/", b"\0", bytes(8)
    block[148:156] = b"%06o\0 " % (sum(block[:148]) + sum(block[156:]) + 256)

    assert _tree(bytes(block), tmp_path)["d"][0] == "directory"


SPARSE = b"\0" * 1_000_000 + b"middle" + b"\0" * 2_000_000 + b"end"


def _sparse_1_0() -> bytes:
    segments = b"2\n1000000\n6\n3000006\n3\n".ljust(512, b"\0")
    records = {
        "GNU.sparse.major": "1",
        "GNU.sparse.minor": "0",
        "GNU.sparse.name": "hole",
        "GNU.sparse.realsize": str(len(SPARSE)),
    }
    return _pax(records, "GNUSparseFile.0/hole", segments + b"middleend")


def _sparse_0_1() -> bytes:
    records = {
        "GNU.sparse.size": str(len(SPARSE)),
        "GNU.sparse.numblocks": "2",
        "GNU.sparse.map": "1000000,6,3000006,3",
        "GNU.sparse.name": "hole",
    }
    return _pax(records, "GNUSparseFile.0/hole", b"middleend")


def _sparse_0_0() -> bytes:
    blob = bytearray(_pax({"comment": "x" * 200}, "hole", b"middleend"))
    records = b""
    for key, value in [
        ("size", len(SPARSE)),
        ("numblocks", 2),
        ("offset", 1_000_000),
        ("numbytes", 6),
        ("offset", 3_000_006),
        ("numbytes", 3),
    ]:
        rest = f" GNU.sparse.{key}={value}\n".encode()
        records += str(len(rest) + 2).encode() + rest
    blob[512:1024] = records.ljust(512, b"\0")
    info = tarfile.TarInfo.frombuf(bytes(blob[:512]), "utf-8", "strict")
    info.size = len(records)
    blob[:512] = info.tobuf(tarfile.USTAR_FORMAT)
    return bytes(blob)


def _sparse_old() -> bytes:
    """Six segments, so that they need a block behind the header."""
    offsets = [(1_000_000 + place, 1) for place in range(6)]
    segments = [*offsets, (3_000_006, 3)]
    info = tarfile.TarInfo("hole")
    info.size, info.type = 9, b"S"
    block = bytearray(info.tobuf(tarfile.GNU_FORMAT))
    packed = [b"%011o\0%011o\0" % segment for segment in segments]
    block[386:482] = b"".join(packed[:4])
    block[482] = 1
    block[483:495] = b"%011o\0" % len(SPARSE)
    block[148:156] = b"%06o\0 " % (sum(block[:148]) + sum(block[156:]) + 256)
    return bytes(block) + b"".join(packed[4:]).ljust(512, b"\0") + b"middleend".ljust(512, b"\0")


@pytest.mark.parametrize("make", [_sparse_old, _sparse_0_0, _sparse_0_1, _sparse_1_0])
def test_sparse_files_are_filled_with_zeros(tmp_path, make):
    assert _tree(make(), tmp_path)["hole"][1] == SPARSE


@pytest.mark.parametrize("make", [_sparse_old, _sparse_0_0, _sparse_0_1, _sparse_1_0])
def test_a_hidden_sparse_file_is_whole_for_its_hard_link(tmp_path, make):
    archive = make()
    low = archive[: archive.rindex(b"middleend") + 512] + tar([hard_link("link", "hole")])

    stream, _ = flatten_blobs([low, tar([file("hole", "new")])], tmp_path)

    assert tree_of(stream)["link"][1] == SPARSE


@pytest.mark.parametrize(
    "segments", ["5,5,0,4", "0,9,99999999,0", "0,10", "0,9,9", "", "0,4,3,5", "9" * 25 + ",9"]
)
def test_a_map_that_contradicts_itself_is_refused(tmp_path, segments):
    records = {"GNU.sparse.size": "100", "GNU.sparse.map": segments, "GNU.sparse.numblocks": "1"}

    with pytest.raises(LayerError, match="layer layer0 has a (sparse file|damaged extended)"):
        _tree(_pax(records, "hole", b"middleend"), tmp_path)


def test_holes_count_for_the_size_of_an_image(tmp_path):
    records = {"GNU.sparse.size": str(1 << 50), "GNU.sparse.map": "0,9"}

    with pytest.raises(LayerTooLargeError, match="layer layer0 brings the image to more than"):
        _tree(_pax(records, "hole", b"middleend"), tmp_path)


@pytest.mark.parametrize("seed", range(150))
def test_a_damaged_layer_is_refused_or_read_but_nothing_else(tmp_path, seed):
    chance = random.Random(seed)
    plain = bytearray(_sparse_1_0()[:4096] if seed % 3 else tar(ENTRIES, tarfile.PAX_FORMAT))
    for _ in range(chance.randrange(1, 4)):
        plain[chance.randrange(min(len(plain), 2048))] = chance.randrange(256)
        block = chance.randrange(0, min(len(plain), 4096), 512)
        field = sum(plain[block : block + 148]) + sum(plain[block + 156 : block + 512]) + 256
        plain[block + 148 : block + 156] = b"%06o\0 " % field
    blob = chance.choice((bytes, gzip.compress, _zstd))(bytes(plain))
    blob = blob[: chance.randrange(len(blob))] if seed % 5 == 0 else blob

    try:
        stream, _ = flatten_blobs([blob], tmp_path, Limits(bytes=1 << 28))
    except LayerError as error:
        assert "layer0" in str(error)
    else:
        tree_of(stream)
