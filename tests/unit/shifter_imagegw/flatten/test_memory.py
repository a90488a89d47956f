# SPDX-License-Identifier: BSD-3-Clause
"""Whatever layers are made of, reading them takes no more than 200 MB of memory."""

from __future__ import annotations

import gzip
import lzma
import subprocess
import sys
import tarfile
from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest
import zstandard

from .layers import file, tar

MEMORY_MAX = 200_000_000  # bytes
ENTRIES, BYTES = 1_000_000, 1 << 30  # what an image may have here
MIB = 1 << 20


def _header(name: str, size: int = 0, kind: bytes = tarfile.REGTYPE, link: str = "") -> bytes:
    info = tarfile.TarInfo(name)
    info.size, info.type, info.linkname = size, kind, link
    return info.tobuf(tarfile.GNU_FORMAT)


def _gzipped(path: Path, pieces: Iterable[bytes]) -> Path:
    with gzip.open(path, "wb", 1) as blob:
        for piece in pieces:
            blob.write(piece)
    return path


def gzip_bomb(folder: Path) -> Iterator[Path]:
    """A thousand times as many bytes as the blob has, of the terabyte that its header says."""
    yield _gzipped(folder / "bomb", [_header("f", 1 << 40), *[bytes(MIB)] * 1100])


def zstd_bomb(folder: Path) -> Iterator[Path]:
    """Blocks of four bytes that are 128 KiB each."""
    path = folder / "bomb"
    head = zstandard.ZstdCompressor().compressobj()
    blob = head.compress(_header("f", 1 << 40)) + head.flush()
    zeros = (3 | 0x20000 << 3).to_bytes(3, "little")  # a last block, of one byte repeated
    frame = b"\x28\xb5\x2f\xfd\0\x58" + zeros + b"\0"
    path.write_bytes(blob + frame * 9000)
    yield path


def xz_bomb(folder: Path) -> Iterator[Path]:
    path = folder / "bomb"
    zeros = lzma.compress(bytes(16 * MIB), preset=1)
    path.write_bytes(lzma.compress(_header("f", 1 << 40)) + zeros * 70)
    yield path


def wide_windows(folder: Path) -> Iterator[Path]:
    """Three layers, each of which a decompressor needs 128 MiB for."""
    wide = zstandard.ZstdCompressionParameters.from_level(1, window_log=27)
    for number in range(3):
        path = folder / f"wide{number}"
        compressor = zstandard.ZstdCompressor(compression_params=wide)
        with path.open("wb") as blob, compressor.stream_writer(blob) as writer:
            writer.write(_header(f"f{number}", 200 * MIB))
            for piece in range(200):
                writer.write(bytes([piece]) * MIB)
        yield path


def extended_headers(folder: Path) -> Iterator[Path]:
    def pieces() -> Iterator[bytes]:
        for number in range(300):
            record = b"1000008 %07d=%b\n" % (number, b"v" * 999_991)
            yield _header("x", len(record), tarfile.XHDTYPE) + record
            yield bytes(-len(record) % 512)

    yield _gzipped(folder / "headers", pieces())


def deep_directories(folder: Path) -> Iterator[Path]:
    yield _gzipped(
        folder / "deep",
        (_header(f"{number}/" + "d/" * 2000 + "f") for number in range(200)),
    )


def long_names(folder: Path) -> Iterator[Path]:
    before, after = _header("././@LongLink", 251, b"L"), _header("x")
    entries = (
        before + f"{number:0251}".encode().ljust(512, b"\0") + after for number in range(220_000)
    )
    yield _gzipped(folder / "long", entries)


def hidden_links(folder: Path) -> Iterator[Path]:
    links = (_header(f"d/{number}", 0, b"2", "t" * 4000) for number in range(20_000))
    yield _gzipped(folder / "links", links)
    yield _gzipped(folder / "over", [tar([file("d")])])


@pytest.mark.parametrize(
    ("make", "outcome"),
    [
        (gzip_bomb, "brings the image to more than 1 GiB"),
        (zstd_bomb, "brings the image to more than 1 GiB"),
        (xz_bomb, "brings the image to more than 1 GiB"),
        (wide_windows, "flattened"),
        (extended_headers, "more than 1048576 for one entry"),
        (deep_directories, "the names in the image are more than"),
        (long_names, "the names in the image are more than"),
        (hidden_links, "the names in the image are more than"),
    ],
)
def test_a_hostile_layer_takes_little_memory(tmp_path, make, outcome):
    layers = list(make(tmp_path))

    measured = subprocess.run(
        [sys.executable, "-m", "tests.unit.shifter_imagegw.flatten.peak_memory",
         str(ENTRIES), str(BYTES), *layers],
        check=True, capture_output=True, text=True,
    ).stdout  # fmt: skip

    peak, _, said = measured.partition(" ")
    assert outcome in said
    assert int(peak) < MEMORY_MAX
