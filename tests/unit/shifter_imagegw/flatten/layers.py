# SPDX-License-Identifier: BSD-3-Clause
"""Make layers by hand, flatten them, and read the result back."""

from __future__ import annotations

import dataclasses
import io
import tarfile
from collections.abc import Sequence
from pathlib import Path

from shifter_imagegw.flatten import FlattenReport, Limits, flatten, sequential


@dataclasses.dataclass(frozen=True)
class Entry:
    """One member of a layer: `kind` is tarfile's type."""

    name: str
    kind: bytes = tarfile.REGTYPE
    content: bytes = b""
    link: str = ""
    mode: int = 0o644
    mtime: int = 0


def file(name: str, content: str = "", mode: int = 0o644, mtime: int = 0) -> Entry:
    return Entry(name, tarfile.REGTYPE, content.encode(), mode=mode, mtime=mtime)


def directory(name: str, mode: int = 0o755, mtime: int = 0) -> Entry:
    return Entry(name, tarfile.DIRTYPE, mode=mode, mtime=mtime)


def symlink(name: str, target: str) -> Entry:
    return Entry(name, tarfile.SYMTYPE, link=target)


def hard_link(name: str, target: str) -> Entry:
    return Entry(name, tarfile.LNKTYPE, link=target)


def device(name: str) -> Entry:
    return Entry(name, tarfile.CHRTYPE)


def fifo(name: str) -> Entry:
    return Entry(name, tarfile.FIFOTYPE)


def whiteout(name: str) -> Entry:
    above, slash, base = name.rpartition("/")
    return Entry(f"{above}{slash}.wh.{base}")


def opaque(name: str) -> Entry:
    return Entry(f"{name}/.wh..wh..opq" if name else ".wh..wh..opq")


def tar(entries: Sequence[Entry], format: int = tarfile.GNU_FORMAT) -> bytes:
    stream = io.BytesIO()
    with tarfile.open(
        fileobj=stream, mode="w", format=format, encoding="utf-8", errors="surrogateescape"
    ) as archive:
        for entry in entries:
            info = tarfile.TarInfo(entry.name)
            info.type = entry.kind
            info.mode = entry.mode
            info.mtime = entry.mtime
            info.linkname = entry.link
            info.size = len(entry.content)
            info.uid = info.gid = 1234
            archive.addfile(info, io.BytesIO(entry.content))
    return stream.getvalue()


Tree = dict[str, tuple[object, ...]]


def flatten_blobs(
    blobs: Sequence[bytes], folder: Path, limits: Limits | None = None
) -> tuple[bytes, FlattenReport]:
    """Flatten layers given as the bytes of their blobs, lowest first."""
    paths = []
    for number, blob in enumerate(blobs):
        path = folder / f"layer{number}"
        path.write_bytes(blob)
        paths.append(path)
    out = io.BytesIO()
    report = flatten([lambda path=path: path for path in paths], out, limits=limits)
    return out.getvalue(), report


def tree_of(stream: bytes) -> Tree:
    """Read a tar stream back; hard-linked files name each other.

    Fails when a path is there twice, or a hard link names what did not come before.
    """
    tree: Tree = {}
    links: dict[str, list[str]] = {}  # path -> all paths of the same file
    with tarfile.open(
        fileobj=io.BytesIO(stream), mode="r:", encoding="utf-8", errors="surrogateescape"
    ) as archive:
        for info in archive:
            assert info.uid == info.gid == 0
            name = "" if info.name == "." else info.name
            assert name not in tree, name
            if info.isdir():
                tree[name] = ("directory", info.mode, info.mtime)
                continue
            links[name] = links[info.linkname] if info.islnk() else []
            links[name].append(name)
            if info.islnk():
                tree[name] = tree[info.linkname]
            elif info.issym():
                tree[name] = ("symlink", info.linkname, info.mtime)
            else:
                assert info.isreg(), info.type
                content = archive.extractfile(info)
                assert content is not None
                tree[name] = ("file", content.read(), info.mode, info.mtime)
    for name, names in links.items():
        tree[name] = (*tree[name], tuple(sorted(names)))
    return tree


def merged(folder: Path, *layers: Sequence[Entry]) -> Tree:
    """Flatten layers given as entries, lowest first, and read the result back.

    Fails when merging in two passes, which any layers allow, gives anything else.
    """
    stream, _ = flatten_blobs([tar(layer) for layer in layers], folder)
    paths = [folder / f"layer{number}" for number in range(len(layers))]
    again = io.BytesIO()
    sequential.flatten([lambda path=path: path for path in paths], again, lambda _: None, Limits())
    tree = tree_of(stream)
    assert tree == tree_of(again.getvalue())
    return tree
