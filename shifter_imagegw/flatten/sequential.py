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
from typing import BinaryIO, cast

from shifter_imagegw.flatten import ahead, names
from shifter_imagegw.flatten.errors import LayerError, UnsafeLayerError
from shifter_imagegw.flatten.limits import DIRECTORY_BYTES, Budget, Limits
from shifter_imagegw.flatten.report import FlattenReport
from shifter_imagegw.flatten.stream import LayerStream
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


# Anything but a directory is a number that says which member of which layer it is, and its kind:
# one for all names that are hard links of each other. There may be millions of them.
Inode = int
_KIND_BITS, _LAYER_BITS = 3, 13


def _inode(kind: int, layer: int, ordinal: int) -> Inode:
    return (ordinal << _LAYER_BITS | layer) << _KIND_BITS | kind


def _kind(inode: Inode) -> int:
    return inode & (1 << _KIND_BITS) - 1


def _layer(inode: Inode) -> int:
    return inode >> _KIND_BITS & (1 << _LAYER_BITS) - 1


def _ordinal(inode: Inode) -> int:
    return inode >> _KIND_BITS + _LAYER_BITS


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
    budget = Budget(limits, progress)
    tree = _Tree(budget)
    with ahead.streams(layers, range(len(layers)), budget) as streams:
        for number, stream in streams:
            tree.begin(number)
            for member in TarReader(stream, budget):
                tree.apply(member, stream.name)
    output = _Output(tree, TarWriter(out))
    output.write_names()
    budget = Budget(limits, progress)
    with ahead.streams(layers, output.wanted_layers(), budget) as streams:
        output.write_files(streams, budget)
    return output.finish()


class _Tree:
    """The tree that the layers applied so far make."""

    def __init__(self, budget: Budget) -> None:
        self._budget = budget
        self.root = Directory(layer=0)
        self.symlinks: dict[Inode, tuple[bytes, int]] = {}  # target, mtime
        self.elsewhere: set[Inode] = set()  # with several names, or another than the layer said
        self.members: list[int] = []  # of each layer
        self.reserved_names = 0
        self._layer = 0
        self._led_elsewhere = False  # the last path, by a symbolic link

    def begin(self, layer: int) -> None:
        self._layer = layer
        self.members.append(0)

    def apply(self, member: Member, layer_name: str) -> None:
        self.members[-1] += 1
        above, _, base = member.name.rpartition(b"/")
        self._budget.spend_name(len(base) + (len(member.link) if member.kind == SYMLINK else 0))
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
        if _owner(node) != self._layer:
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
                name: node
                for name, node in directory.children.items()
                if _owner(node) == self._layer
            }
            for node in directory.children.values():
                if isinstance(node, Directory):
                    if node.described_by != self._layer:
                        node.forget()
                    waiting.append(node)

    def _place(self, member: Member, above: bytes, base: bytes, layer_name: str) -> None:
        target = self._target(member, layer_name) if member.kind == HARD_LINK else None
        parent = self._make(above, layer_name)
        if member.kind == DIRECTORY:
            directory = parent.children.get(base)
            if not isinstance(directory, Directory):
                directory = parent.children[base] = Directory(self._layer)
            directory.layer = self._layer
            directory.describe(member, self._layer)
        elif target is None:
            inode = _inode(member.kind, self._layer, self.members[-1] - 1)
            parent.children[base] = inode
            if member.kind == SYMLINK:
                self.symlinks[inode] = (member.link, member.mtime)
            if self._led_elsewhere:
                self.elsewhere.add(inode)
        else:
            self.elsewhere.add(target)
            is_own = _layer(target) == self._layer
            parent.children[base] = target if is_own else Link(target, self._layer)

    def _target(self, member: Member, layer_name: str) -> Inode:
        above, _, base = member.link.rpartition(b"/")
        directory = self._find(above, layer_name)
        node = directory.children.get(base) if directory else None
        if node is not None and not isinstance(node, Directory):
            return _of(node)
        why = "is a directory" if node is not None or not base else "is in no layer below it"
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
            directory = node if isinstance(node, Directory) else self._implied(name)
            directory.layer = self._layer
            parent.children[name] = directory
            parent = directory
        return parent

    def _implied(self, name: bytes) -> Directory:
        self._budget.spend_name(len(name) + DIRECTORY_BYTES)
        return Directory(self._layer)

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
            is_file = node is not None and not isinstance(node, Directory)
            target, _ = self.symlinks.get(_of(node), (None, 0)) if is_file else (None, 0)
            if target is None:
                trail.append((part, node))
                continue
            links += 1
            if links > _LINKS_MAX:
                raise LayerError(
                    f"layer {layer_name} has an entry below a symbolic link that leads in a"
                    f" circle: {names.show(path)}"
                )
            if target.startswith(b"/"):
                del trail[1:]
            parts += target.split(b"/")[::-1]
        if links and sum(len(name) + 1 for name, _ in trail) > names.PATH_MAX:
            raise LayerError(
                f"layer {layer_name} has an entry that symbolic links place deeper than the"
                f" {names.PATH_MAX} bytes that Linux can open: {names.show(path)}"
            )
        self._led_elsewhere = links > 0
        return trail


class _Output:
    """Writes what the finished tree needs: names first, then bytes in the order of the layers."""

    def __init__(self, tree: _Tree, writer: TarWriter) -> None:
        self._tree = tree
        self._writer = writer
        self._report = FlattenReport(was_read_twice=True, dropped_others=tree.reserved_names)
        self._paths: dict[Inode, bytes] = {}  # the first names of those that are elsewhere
        self._wanted = [bytearray(count) for count in tree.members]  # by layer and ordinal

    def wanted_layers(self) -> list[int]:
        return [number for number, flags in enumerate(self._wanted) if any(flags)]

    def write_names(self) -> None:
        """Write what needs no bytes, and mark what does."""
        for path, node in _walk(self._tree.root):
            if isinstance(node, Directory):
                self._writer.directory(path, node.mode, node.mtime)
                continue
            inode = _of(node)
            if inode in self._tree.elsewhere:
                if inode in self._paths:
                    continue
                self._paths[inode] = path
            kind = _kind(inode)
            if kind == FILE:
                self._wanted[_layer(inode)][_ordinal(inode)] = True
            elif kind == SYMLINK:
                self._writer.symlink(path, *self._tree.symlinks[inode])
            else:
                self._report.count_dropped(kind)

    def write_files(
        self,
        streams: Iterator[tuple[int, LayerStream]],
        budget: Budget,
    ) -> None:
        """Go through the layers once more for the bytes."""
        done = 0
        for number, stream in streams:
            reader = TarReader(stream, budget)
            flags = self._wanted[number]
            missing = flags.count(True)
            for ordinal, member in enumerate(reader):
                if not flags[ordinal]:
                    continue
                path = self._paths.get(_inode(FILE, number, ordinal), member.name)
                self._report.bytes += member.size
                data = reader.padded_data()
                self._writer.file(path, member.mode, member.mtime, member.size, data)
                budget.reach(done + stream.packed_read)
                missing -= 1
                if not missing:
                    break
            done += stream.size
            budget.reach(done)

    def finish(self) -> FlattenReport:
        """Write all names but the first of what has several."""
        for path, node in _walk(self._tree.root) if self._paths else ():
            if isinstance(node, Directory):
                continue
            inode = _of(node)
            first = self._paths.get(inode, path)
            if first != path and _kind(inode) in (FILE, SYMLINK):
                self._writer.hard_link(path, first)
        self._writer.finish()
        self._report.entries = self._writer.entries
        return self._report


def _of(node: Node | None) -> Inode:
    """Give the inode of what is no directory."""
    return node.inode if isinstance(node, Link) else cast("Inode", node)


def _owner(node: Node) -> int:
    """Give the layer whose whiteouts leave this alone."""
    return _layer(node) if isinstance(node, int) else node.layer


def _walk(root: Directory) -> Iterator[tuple[bytes, Node]]:
    """Give all entries, each directory before those in it."""
    waiting: list[tuple[bytes, Node]] = [(b"", root)]
    while waiting:
        path, node = waiting.pop()
        yield path, node
        if isinstance(node, Directory):
            prefix = path + b"/" if path else b""
            waiting += [(prefix + name, child) for name, child in node.children.items()]
