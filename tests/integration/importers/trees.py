# SPDX-License-Identifier: BSD-3-Clause
"""Trees that are imported, and what can be compared of a tree."""

from __future__ import annotations

import os
import socket
import stat
import subprocess
from pathlib import Path


def make_tree(root: Path, owner: int) -> Path:
    """A tree with all that can be in one; all of it belongs to `owner`."""
    (root / "usr/bin").mkdir(parents=True)
    (root / "etc").mkdir()
    (root / "empty").mkdir(mode=0o755)
    (root / "usr/bin/tool").write_bytes(b"#!/bin/sh\necho tool\n")
    (root / "usr/bin/tool").chmod(0o755)
    os.link(root / "usr/bin/tool", root / "usr/bin/other")
    (root / "usr/bin/set").write_bytes(b"set-id")
    (root / "big").write_bytes(os.urandom(3_000_001))
    (root / "etc/name\n\xff with all".encode("utf-8", "surrogateescape").decode()).write_text("x")
    (root / "etc/.wh.file").write_text("no whiteout")
    (root / "etc/link").symlink_to("/etc/passwd")
    (root / "etc/none").write_bytes(b"")
    (root / ("n" * 200)).mkdir()
    (root / ("n" * 200) / ("m" * 200)).write_text("long")
    os.mkfifo(root / "pipe")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(os.path.relpath(root / "socket"))
    for path in (root, *root.rglob("*")):
        os.chown(path, owner, owner, follow_symlinks=False)
    (root / "usr/bin/set").chmod(0o6755)
    return root


def content_of_tree(root: Path) -> dict[str, tuple[object, ...]]:
    """By path: kind, mode, content or target, and the first name of what has several."""
    found: dict[str, tuple[object, ...]] = {}
    first: dict[tuple[int, int], str] = {}
    for path in sorted([root, *root.rglob("*")]):
        status = path.lstat()
        name = str(path.relative_to(root))
        mode = stat.S_IMODE(status.st_mode)
        if stat.S_ISDIR(status.st_mode):
            found[name] = ("directory", mode)
        elif stat.S_ISLNK(status.st_mode):
            found[name] = ("link", os.readlink(path))
        elif stat.S_ISREG(status.st_mode):
            same_as = first.setdefault((status.st_dev, status.st_ino), name)
            found[name] = ("file", mode, path.read_bytes(), same_as, int(status.st_mtime))
        else:
            found[name] = ("special",)
    return found


def as_imported(tree: dict[str, tuple[object, ...]]) -> dict[str, tuple[object, ...]]:
    """The same without what no image has."""
    kept = {name: entry for name, entry in tree.items() if entry != ("special",)}
    return {
        name: ("file", entry[1] & 0o777, *entry[2:]) if entry[0] == "file" else entry
        for name, entry in kept.items()
    }


def pack(root: Path, image: Path, *options: str) -> Path:
    subprocess.run(
        ["mksquashfs", root, image, "-quiet", "-no-progress", *options],
        check=True, stdout=subprocess.DEVNULL,
    )  # fmt: skip
    image.chmod(0o644)
    return image
