# SPDX-License-Identifier: BSD-3-Clause
"""Merge any layers, in two passes: first the headers of all, then the bytes that are wanted.

The first pass applies the layers to a tree in memory in the order and with the meaning of the
image specification (layer.md, "Applying Changesets"), and where that is silent, as umoci does:

- An entry below a symbolic link is placed where the link leads, resolved inside the image's root,
  so that `lib/x` over a base with `lib -> usr/lib` becomes `usr/lib/x`. Missing directories on the
  way are made; anything else in the way is replaced by a directory.
- A directory over a directory changes its mode and time; all else replaces what is there, with
  everything below it. A directory entry replaces a symbolic link.
- A whiteout hides what lower layers have, never what its own layer brings, before it or after.
- A hard link takes its target as it is at that moment, from whichever layer.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import BinaryIO

from shifter_imagegw.flatten import ahead, names
from shifter_imagegw.flatten.errors import LayerError, UnsafeLayerError
from shifter_imagegw.flatten.limits import Budget, Limits
from shifter_imagegw.flatten.report import FlattenReport
from shifter_imagegw.flatten.tar_reader import (
    DIRECTORY,
    FILE,
    HARD_LINK,
    SYMLINK,
    Member,
    TarReader,
)
from shifter_imagegw.flatten.tar_writer import IMPLIED_MODE, TarWriter

_LINKS_MAX = 255  # symbolic links followed for one path


class Inode:
    """Anything but a directory."""

    __slots__ = ("kind", "layer", "link", "mode", "mtime", "ordinal", "path")

    def __init__(self, member: Member, layer: int, ordinal: int) -> None:
        self.kind = member.kind
        self.link = member.link
        self.mode = member.mode
        self.mtime = member.mtime
        self.layer = layer
        self.ordinal = ordinal  # of the member in its layer: where the bytes are
        self.path: bytes | None = None  # the first of its names in the finished tree


class Link:
    """A name that `layer` gave to what a lower layer brought."""

    __slots__ = ("inode", "layer")

    def __init__(self, inode: Inode, layer: int) -> None:
        self.inode = inode
        self.layer = layer


class Directory:
    """`layer` is the last that named it or something in it, `described_by` the last to name it."""

    __slots__ = ("children", "described_by", "layer", "mode", "mtime")

    def __init__(self, layer: int) -> None:
        self.children: dict[bytes, Node] = {}
        self.layer = layer
        self.forget()

    def describe(self, member: Member, layer: int) -> None:
        self.mode = member.mode
        self.mtime = member.mtime
        self.described_by = layer

    def forget(self) -> None:
        self.mode = IMPLIED_MODE
        self.mtime = 0
        self.described_by = -1


Node = Directory | Inode | Link


def flatten(
    layers: Sequence[Callable[[], Path]],
    out: BinaryIO,
    progress: Callable[[int], None],
    limits: Limits,
) -> FlattenReport:
    """Write the merged stream; see `flattening.flatten`."""
    tree = _Tree()
    budget = Budget(limits)
    with ahead.streams(layers, range(len(layers)), budget) as streams:
        for number, stream in streams:
            tree.begin(number)
            for member in TarReader(stream, budget):
                tree.apply(member, stream.name)
    report = FlattenReport(was_read_twice=True, dropped_others=tree.reserved_names)
    writer = TarWriter(out)
    wanted = _write_names(tree.root, len(layers), writer, report)
    _write_files(wanted, layers, writer, report, progress, limits)
    _write_links(tree.root, writer)
    writer.finish()
    report.entries = writer.entries
    return report


class _Tree:
    """The tree that the layers applied so far make."""

    def __init__(self) -> None:
        self.root = Directory(layer=0)
        self._layer = 0
        self._ordinal = -1
        self.reserved_names = 0

    def begin(self, layer: int) -> None:
        self._layer = layer
        self._ordinal = -1

    def apply(self, member: Member, layer_name: str) -> None:
        self._ordinal += 1
        above, _, base = member.name.rpartition(b"/")
        if base.startswith(names.WHITEOUT_PREFIX):
            self._whiteout(above, base, layer_name)
        elif member.name.startswith(names.WHITEOUT_PREFIX) or b"/.wh." in member.name:
            self.reserved_names += 1
        elif not base:
            if member.kind != DIRECTORY:
                raise UnsafeLayerError(
                    f"layer {layer_name} has an entry that would replace the root directory"
                )
            self.root.describe(member, self._layer)
        else:
            self._place(member, above, base, layer_name)

    def _whiteout(self, above: bytes, base: bytes, layer_name: str) -> None:
        if base == names.OPAQUE_WHITEOUT:
            directory = self._find(above, layer_name)
            if directory is not None:
                self._keep_own(directory)
            return
        if base.startswith(names.AUFS_PREFIX):
            return
        name = names.hidden_by_whiteout(base, layer_name)
        directory = self._find(above, layer_name)
        if directory is None or name not in directory.children:
            return
        node = directory.children[name]
        if node.layer != self._layer:
            del directory.children[name]
        elif isinstance(node, Directory):
            if node.described_by != self._layer:
                node.forget()
            self._keep_own(node)

    def _keep_own(self, directory: Directory) -> None:
        """Take away all that the current layer did not bring."""
        waiting = [directory]
        while waiting:
            directory = waiting.pop()
            directory.children = {
                name: node for name, node in directory.children.items() if node.layer == self._layer
            }
            for node in directory.children.values():
                if isinstance(node, Directory):
                    if node.described_by != self._layer:
                        node.forget()
                    waiting.append(node)

    def _place(self, member: Member, above: bytes, base: bytes, layer_name: str) -> None:
        inode: Inode | None = None
        if member.kind == HARD_LINK:
            inode = self._target(member, layer_name)
        parent = self._make(above, layer_name)
        existing = parent.children.get(base)
        if member.kind == DIRECTORY:
            if not isinstance(existing, Directory):
                existing = parent.children[base] = Directory(self._layer)
            existing.layer = self._layer
            existing.describe(member, self._layer)
        elif inode is None:
            parent.children[base] = Inode(member, self._layer, self._ordinal)
        elif inode.layer == self._layer:
            parent.children[base] = inode
        else:
            parent.children[base] = Link(inode, self._layer)

    def _target(self, member: Member, layer_name: str) -> Inode:
        above, _, base = member.link.rpartition(b"/")
        directory = self._find(above, layer_name)
        node = directory.children.get(base) if directory else None
        if isinstance(node, Link):
            return node.inode
        if isinstance(node, Inode):
            return node
        why = "is a directory" if node or not base else "is in no layer below it"
        raise LayerError(
            f"layer {layer_name} has a hard link {names.show(member.name)} to"
            f" {names.show(member.link)}, which {why}"
        )

    def _find(self, path: bytes, layer_name: str) -> Directory | None:
        """Give the directory at `path` if there is one, links on the way resolved."""
        directory = self._resolve(path, layer_name)[-1][1]
        return directory if isinstance(directory, Directory) else None

    def _make(self, path: bytes, layer_name: str) -> Directory:
        """Give the directory at `path`, made if need be; it belongs to the current layer now."""
        parent = self.root
        for name, node in self._resolve(path, layer_name)[1:]:
            directory = node if isinstance(node, Directory) else Directory(self._layer)
            directory.layer = self._layer
            parent.children[name] = directory
            parent = directory
        return parent

    def _resolve(self, path: bytes, layer_name: str) -> list[tuple[bytes, Node | None]]:
        """Give the names from the root to `path`, with what is there; links do not occur in it."""
        trail: list[tuple[bytes, Node | None]] = [(b"", self.root)]
        parts = path.split(b"/")[::-1]
        links = 0
        while parts:
            part = parts.pop()
            if part in (b"", b"."):
                continue
            if part == b"..":
                del trail[max(1, len(trail) - 1) :]
                continue
            above = trail[-1][1]
            node = above.children.get(part) if isinstance(above, Directory) else None
            inode = node.inode if isinstance(node, Link) else node
            if not isinstance(inode, Inode) or inode.kind != SYMLINK:
                trail.append((part, node))
                continue
            links += 1
            if links > _LINKS_MAX:
                raise LayerError(
                    f"layer {layer_name} has an entry below a symbolic link that leads in a"
                    f" circle: {names.show(path)}"
                )
            if inode.link.startswith(b"/"):
                del trail[1:]
            parts += inode.link.split(b"/")[::-1]
        return trail


def _write_names(
    root: Directory, layers: int, writer: TarWriter, report: FlattenReport
) -> list[dict[int, Inode]]:
    """Write what needs no bytes; give what does, by layer and place in it."""
    wanted: list[dict[int, Inode]] = [{} for _ in range(layers)]
    for path, node in _walk(root):
        if isinstance(node, Directory):
            writer.directory(path, node.mode, node.mtime)
            continue
        inode = _inode(node)
        if inode.path is not None:
            continue
        inode.path = path
        if inode.kind == FILE:
            wanted[inode.layer][inode.ordinal] = inode
        elif inode.kind == SYMLINK:
            writer.symlink(path, inode.link, inode.mtime)
        else:
            report.count_dropped(inode.kind)
    return wanted


def _write_links(root: Directory, writer: TarWriter) -> None:
    """Write all names but the first of what has several."""
    for path, node in _walk(root):
        if isinstance(node, Directory):
            continue
        inode = _inode(node)
        if inode.path is not None and inode.path != path and inode.kind in (FILE, SYMLINK):
            writer.hard_link(path, inode.path)


def _inode(node: Inode | Link) -> Inode:
    return node.inode if isinstance(node, Link) else node


def _write_files(
    wanted: list[dict[int, Inode]],
    layers: Sequence[Callable[[], Path]],
    writer: TarWriter,
    report: FlattenReport,
    progress: Callable[[int], None],
    limits: Limits,
) -> None:
    """Go through the layers once more for the bytes."""
    budget = Budget(limits)
    done = 0
    order = [number for number, inodes in enumerate(wanted) if inodes]
    with ahead.streams(layers, order, budget) as streams:
        for number, stream in streams:
            reader = TarReader(stream, budget)
            inodes = wanted[number]
            for ordinal, member in enumerate(reader):
                inode = inodes.pop(ordinal, None)
                if inode is None:
                    continue
                report.bytes += member.size
                path = inode.path or b""
                writer.file(path, member.mode, member.mtime, member.size, reader.padded_data())
                progress(done + stream.packed_read)
                if not inodes:
                    break
            done += stream.size


def _walk(root: Directory) -> Iterator[tuple[bytes, Node]]:
    """Give all entries, each directory before those in it."""
    waiting: list[tuple[bytes, Node]] = [(b"", root)]
    while waiting:
        path, node = waiting.pop()
        yield path, node
        if isinstance(node, Directory):
            prefix = path + b"/" if path else b""
            waiting += [(prefix + name, child) for name, child in node.children.items()]
