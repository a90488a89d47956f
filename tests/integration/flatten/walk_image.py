# SPDX-License-Identifier: BSD-3-Clause
"""Print the tree of a directory as a Python literal: run as a script where an image is mounted."""

from __future__ import annotations

import os
import stat
import sys


def walk(root: str) -> tuple[dict[str, tuple[object, ...]], set[tuple[int, int]]]:
    """Give the tree as `layers.tree_of` reads it back from a tar stream, and all its owners."""
    links: dict[int, list[str]] = {}
    things: list[tuple[str, os.stat_result, tuple[object, ...]]] = []
    for here, directories, files in os.walk(root, followlinks=False):
        for name in ["", *files, *(one for one in directories if os.path.islink(f"{here}/{one}"))]:
            full = os.path.join(here, name).removesuffix("/")
            status = os.lstat(full)
            path = os.path.relpath(full, root)
            path = "" if path == "." else path
            things.append((path, status, _content(full, status)))
            links.setdefault(status.st_ino, []).append(path)
    tree: dict[str, tuple[object, ...]] = {}
    owners: set[tuple[int, int]] = set()
    for path, status, content in things:
        owners.add((status.st_uid, status.st_gid))
        if content[0] == "directory":
            tree[path] = content
            continue
        assert status.st_nlink == len(links[status.st_ino]), path
        tree[path] = (*content, tuple(sorted(links[status.st_ino])))
    return tree, owners


def _content(full: str, status: os.stat_result) -> tuple[object, ...]:
    mode, mtime = stat.S_IMODE(status.st_mode), int(status.st_mtime)
    if stat.S_ISDIR(status.st_mode):
        return "directory", mode, mtime
    if stat.S_ISLNK(status.st_mode):
        return "symlink", os.readlink(full), mtime
    assert stat.S_ISREG(status.st_mode), full
    with open(full, "rb") as file:
        return "file", file.read(), mode, mtime


if __name__ == "__main__":
    print(ascii(walk(sys.argv[1])))
