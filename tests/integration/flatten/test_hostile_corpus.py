# SPDX-License-Identifier: BSD-3-Clause
"""Layers made to break out of or to confuse: refused, or exactly what umoci makes of them."""

from __future__ import annotations

import tarfile
from pathlib import Path

import pytest

from shifter_imagegw.flatten import LayerError

from ...unit.shifter_imagegw.flatten.layers import (
    Entry,
    directory,
    file,
    flatten_blobs,
    hard_link,
    opaque,
    symlink,
    tar,
    tree_of,
    whiteout,
)
from . import umoci

BASE = [
    directory("usr"),
    directory("usr/lib"),
    file("usr/lib/libc", "libc"),
    symlink("lib", "usr/lib"),
    directory("etc"),
    file("etc/passwd", "root"),
    symlink("up", "../../../.."),
    symlink("host", "/"),
    symlink("sibling", "../etc"),
    file("plain", "plain"),
]

CHAIN = [hard_link(f"{number + 1}", f"{number}") for number in range(40)]

# Stacks over BASE that both read alike.
ALIKE: dict[str, list[list[Entry]]] = {
    "through a link to the host's root": [[file("host/tmp/escaped", "x")]],
    "through a link above the root": [[file("up/tmp/escaped", "x")]],
    "through a link and back": [[file("sibling/passwd", "changed")]],
    "a link made and used by one layer": [[symlink("l", "/etc"), file("l/shadow", "x")]],
    "a link to a link to the host": [
        [symlink("a", "b"), symlink("b", "/../../etc"), file("a/x", "x")]
    ],
    "a directory through a link": [[directory("lib/new", 0o755), file("lib/new/f", "f")]],
    "a link that replaces a directory": [[symlink("usr", "/etc")], [file("usr/x", "x")]],
    "a directory that replaces a link": [[directory("lib")], [file("lib/f", "f")]],
    "a file that replaces a link": [[file("lib", "no link")]],
    "a link that replaces a file": [[symlink("plain", "/etc/passwd")]],
    "a hard link through a link": [[hard_link("h", "lib/libc")]],
    "a hard link to a link": [[hard_link("h", "host")]],
    "a hard link under a link": [[hard_link("lib/h", "etc/passwd")]],
    "a hard link that replaces its target's directory": [[hard_link("usr", "plain")]],
    "a hard link to what is whited out above": [[hard_link("h", "plain")], [whiteout("plain")]],
    "a chain of hard links": [[file("0", "x"), *CHAIN]],
    "a whiteout of a link to a directory": [[whiteout("lib")]],
    "a whiteout through a link": [[whiteout("lib/libc")]],
    "a whiteout through a link to the host": [[whiteout("host/etc/passwd")]],
    "a whiteout of what is not there": [[whiteout("nothing"), whiteout("no/where")]],
    "a whiteout of a directory": [[whiteout("usr")]],
    "an opaque whiteout of a directory": [[opaque("usr"), file("usr/new", "new")]],
    "an opaque whiteout of the root": [[opaque(""), file("new", "new")]],
    "an opaque whiteout behind what it leaves": [[file("usr/new", "new"), opaque("usr")]],
    "an absolute name": [[file("/etc/hosts", "x")]],
    "a name with dots in it": [[file("./etc/./hosts", "x"), file("etc//hosts2", "x")]],
    "a name that goes up and stays inside": [[file("etc/../etc/hosts", "x")]],
    "names that differ in case": [[file("README", "1"), file("readme", "2")]],
    "names that differ in their composition": [[file("\xe9", "1"), file("e\u0301", "2")]],
    "a name with a newline": [[file("new\nline", "x"), directory("d\n\n")]],
    "a name that is no text": [[file("\udcff\udc80", "x"), symlink("\udcfe", "\udcff")]],
    "a name with a terminal's commands": [[file("\x1b[2J\x07", "x")]],
    "a name like an option": [[file("-rf", "x"), file("--help", "x")]],
    "a name that a shell would read": [[file("$(id)`id`;id|id", "x"), file("* ?", "x")]],
    "the longest name": [[file("n" * 255, "x")]],
    "the longest path that Linux can open": [[file("/".join(["d" * 127] * 31), "x")]],
    "one path twice": [[file("plain", "1"), file("plain", "2"), file("plain", "3")]],
    "one path as file, directory and link": [
        [file("p", "1"), directory("p"), file("p/x", "x"), symlink("p", "etc"), file("p/y", "y")]
    ],
}

# Stacks over BASE that we refuse, whatever umoci does with them.
REFUSED: dict[str, list[list[Entry]]] = {
    "a name that leaves the image": [[file("../escaped", "x")]],
    "a name that leaves the image late": [[file("a/b/../../../escaped", "x")]],
    "a hard link to outside": [[hard_link("h", "../../etc/passwd")]],
    "a hard link to the host's file": [[hard_link("h", "/etc/host-only")]],
    "a hard link to nothing": [[hard_link("h", "nothing")]],
    "a hard link to itself": [[hard_link("h", "h")]],
    "hard links in a circle": [[hard_link("a", "b"), hard_link("b", "a")]],
    "a hard link to a directory": [[hard_link("h", "usr")]],
    "a hard link to what its layer whited out": [[whiteout("plain"), hard_link("h", "plain")]],
    "links in a circle": [[symlink("a", "b"), symlink("b", "a"), file("a/x", "x")]],
    "a whiteout of the directory itself": [[Entry("usr/.wh..")]],
    "a whiteout of the directory above": [[Entry("usr/.wh...")]],
    "a whiteout of nothing": [[Entry("usr/.wh.")]],
    "a root that is a file": [[file(".", "x")]],
    "a name that no filesystem holds": [[file("n" * 256, "x")]],
    "a path that Linux cannot open": [[file("/".join(["d" * 127] * 33), "x")]],
}


def _flattened(folder: Path, tars: list[bytes]):
    stream, _ = flatten_blobs(tars, folder)
    return tree_of(stream)


@pytest.mark.root
@pytest.mark.parametrize("stack", ALIKE.values(), ids=ALIKE)
def test_what_umoci_unpacks_we_flatten_alike(tmp_path, stack):
    tars = [tar(BASE), *[tar(layer, tarfile.PAX_FORMAT) for layer in stack]]

    ours = _flattened(tmp_path, tars)

    assert umoci.without_modes(ours) == umoci.without_modes(umoci.unpacked(tmp_path, tars))


@pytest.mark.parametrize("stack", REFUSED.values(), ids=REFUSED)
def test_what_cannot_be_meant_is_refused_by_name(tmp_path, stack):
    with pytest.raises(LayerError, match=r"^layer layer\d has "):
        _flattened(tmp_path, [tar(BASE), *[tar(layer) for layer in stack]])
