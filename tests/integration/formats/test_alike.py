# SPDX-License-Identifier: BSD-3-Clause
"""The kernel sees the same tree in an image of any format, and the same bytes are made anywhere."""

from __future__ import annotations

import contextlib
import hashlib
import os
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from shifter_imagegw import formats
from tests.unit.shifter_imagegw.formats.streams import ALL_KINDS, LATE, file, stream

pytestmark = pytest.mark.root

# 1,500 extents of 64 KiB each: more than two levels of an ext4's tree hold in one inode.
FRAGMENTS = b"".join(
    bytes(1 << 16) + number.to_bytes(2, "big") * (1 << 15) for number in range(1500)
)

MAKE = """\
import os, sys
from pathlib import Path
from shifter_imagegw import formats
from tests.unit.shifter_imagegw.formats.streams import ALL_KINDS, stream
os.sched_setaffinity(0, {int(sys.argv[3])})
os.umask(0o077)
formats.make(sys.argv[1], stream(*ALL_KINDS), Path(sys.argv[2]))
"""


@contextlib.contextmanager
def shown(image: Path, format: str, place: Path) -> Iterator[Path]:
    if image.is_dir():
        yield image
        return
    place.mkdir()
    subprocess.run(["mount", "-t", format, "-o", "loop,ro", image, place], check=True)
    try:
        yield place
    finally:
        subprocess.run(["umount", place], check=True)


def make(directory: Path, format: str, *entries) -> Path:
    image = directory / f"image.{format}"
    if format in formats.DIRECTORY_FORMATS:
        image.mkdir()
    formats.make(format, stream(*entries), image)
    return image


def walked(root: Path) -> dict[bytes, tuple[object, ...]]:
    """All that a user can tell of each entry; the root's own mode is the runtime's affair."""
    found = {}
    for directory, _, _, descriptor in os.fwalk(os.fsencode(root)):
        for name in os.listdir(descriptor):
            entry = os.lstat(name, dir_fd=descriptor)
            path = os.path.relpath(os.path.join(directory, os.fsencode(name)), os.fsencode(root))
            found[path] = (entry.st_mode, int(entry.st_mtime), *_content(name, entry, descriptor))
    return found


def _content(name: str, entry: os.stat_result, directory: int) -> tuple[object, ...]:
    if stat.S_ISLNK(entry.st_mode):
        return entry.st_nlink, os.readlink(name, dir_fd=directory)
    if stat.S_ISDIR(entry.st_mode):
        return ()
    with open(os.open(name, os.O_RDONLY, dir_fd=directory), "rb") as opened:
        return entry.st_nlink, entry.st_size, hashlib.sha256(opened.read()).hexdigest()


def test_every_format_shows_the_same_tree(tmp_path):
    entries = [entry for entry in ALL_KINDS if entry is not LATE]
    seen = {}
    for format in formats.FORMATS:
        image = make(tmp_path, format, *entries)
        with shown(image, format, tmp_path / f"{format}.mount") as place:
            seen[format] = walked(place)

    assert len(seen["squashfs"]) > 500
    assert seen["ext4"] == seen["squashfs"]
    assert seen["VFS"] == seen["squashfs"]


def test_a_file_in_many_pieces_is_read_from_ext4_as_it_was(tmp_path):
    image = make(tmp_path, "ext4", file(b"fragments", FRAGMENTS), file(b"after"))

    checked = subprocess.run(["e2fsck", "-f", "-n", image], capture_output=True, text=True)
    with shown(image, "ext4", tmp_path / "mount") as place:
        content = (place / "fragments").read_bytes()

    assert checked.returncode == 0, checked.stdout
    assert content == FRAGMENTS
    assert image.stat().st_size < 105 << 20  # half of it is zeros


@pytest.mark.parametrize("format", ["squashfs", "ext4"])
def test_other_users_processors_and_umasks_make_the_same_bytes(tmp_path, format):
    images = []
    for processor, user in enumerate((0, 61003)):
        image = Path(subprocess.check_output(["mktemp"], text=True).strip())
        images.append(image)
        os.chown(image, user, user)
        command = [sys.executable, "-c", MAKE, format, image, f"{processor % os.cpu_count()}"]
        subprocess.run(command, check=True, user=user, cwd=Path(__file__).parents[3])

    try:
        first, second = (image.read_bytes() for image in images)
        assert first == second
    finally:
        for image in images:
            image.unlink()
