# SPDX-License-Identifier: BSD-3-Clause
"""Merge layers in one pass, the topmost first: what comes first is what is seen.

A tree remembers which paths higher layers have claimed or hidden. Directories are written at the
end, when all is known about them.

The image specification applies layers from the lowest on, entry by entry, and so do containerd,
umoci and Docker: an entry below a symbolic link is placed where the link leads inside the image,
and a path that is named again is replaced. From the top one cannot see where a link of a lower
layer leads, nor take back what is written. So a layer is followed only as long as that cannot
matter. `_assumed` holds the paths that a layer used as directories without saying that they are;
should a lower layer turn out to have a link there, or should a layer contradict itself, then
NotTopDownError ends the attempt and `sequential` does it in the specification's order.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import BinaryIO, NamedTuple

from shifter_imagegw.flatten import ahead, names
from shifter_imagegw.flatten.errors import UnsafeLayerError
from shifter_imagegw.flatten.limits import DIRECTORY_BYTES, Budget, Limits
from shifter_imagegw.flatten.owed import Owed
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


class NotTopDownError(Exception):
    """What these layers make cannot be told from the topmost down."""


class Directory:
    """A path that some layer made a directory, or looked into."""

    __slots__ = ("children", "described_by", "hides_below", "is_real", "mode", "mtime", "opaque")

    def __init__(self, opaque: int = 0) -> None:
        # A number is a claim, see `_claim`: this path is no directory, or is whited out.
        self.children: dict[bytes, Directory | int] = {}
        self.opaque = opaque  # layers below this number cannot put anything into it …
        self.hides_below = opaque  # … nor say anything about the directory itself
        self.described_by = -1  # the layer that `mode` and `mtime` are from
        self.is_real = False  # not merely looked into by a whiteout
        self.mode = IMPLIED_MODE
        self.mtime = 0


class Hidden:
    """An entry of the current layer that is not seen, though a hard link to it may be."""

    __slots__ = ("kind", "link", "mode", "mtime", "number", "shown_as", "size")

    def __init__(self, member: Member, number: int) -> None:
        self.number = number  # its place among the layer's entries
        self.kind = member.kind
        self.link = member.link
        self.mode = member.mode
        self.mtime = member.mtime
        self.size = member.size
        self.shown_as: bytes | None = None  # the path it was written under


class Shown(NamedTuple):
    """An entry of the current layer that was written, or dropped."""

    path: bytes
    claim: int


# What a claim says besides its layer. A whiteout gives way to its own layer's entry.
_FILE_CLAIM, _SYMLINK_CLAIM, _DROPPED_CLAIM, _WHITEOUT_CLAIM = range(4)
_CLAIM_KINDS = {FILE: _FILE_CLAIM, SYMLINK: _SYMLINK_CLAIM}


def flatten(
    layers: Sequence[Callable[[], Path]],
    out: BinaryIO,
    progress: Callable[[int], None],
    limits: Limits,
) -> FlattenReport:
    """Write the merged stream; see `flattening.flatten`. Raises NotTopDownError."""
    budget = Budget(limits, progress)
    merge = _Merge(TarWriter(out), budget)
    done = 0
    with ahead.streams(layers, reversed(range(len(layers))), budget) as streams:
        for number, stream in streams:
            reader = TarReader(stream, budget)
            merge.begin(number)
            packed_read = 0
            for member in reader:
                merge.add(member, reader, stream.name)
                if stream.packed_read != packed_read:
                    packed_read = stream.packed_read
                    budget.reach(done + packed_read)
            if merge.owed:
                _read_again(layers, number, merge, Budget(limits, progress))
            done += stream.size
            budget.reach(done)
    return merge.finish()


def _read_again(
    layers: Sequence[Callable[[], Path]], number: int, merge: _Merge, budget: Budget
) -> None:
    """Give the merge the bytes that it passed over and then found to be wanted."""
    with ahead.streams(layers, [number], budget) as streams:
        for _, stream in streams:
            reader = TarReader(stream, budget)
            for place, member in enumerate(reader):
                merge.owed.pay(place, member, reader)
                if not merge.owed:
                    break
    merge.owed.settle()


class _Merge:
    """The tree as far as it is known, and what the current layer said so far."""

    def __init__(self, writer: TarWriter, budget: Budget) -> None:
        self._writer = writer
        self._budget = budget
        self._report = FlattenReport()
        self._root = Directory()
        self._assumed: dict[bytes, int] = {}  # path -> the lowest layer that assumed
        self._layer = 0
        self._number = -1  # of the current entry, within its layer
        self._claims: list[int] = []  # of the current layer, by kind; shared, to save memory
        self.owed = Owed(writer)
        # What the current layer named or used, by path:
        self._entered: dict[bytes, Directory | None] = {}  # as directories; None where unseen
        self._named_directories: set[bytes] = set()
        self._hidden: dict[bytes, Hidden | Shown] = {}  # unseen; Shown where a link to the seen

    def begin(self, layer: int) -> None:
        self._layer = layer
        self._claims = [layer * 4 + kind for kind in range(4)]
        self._entered = {}
        self._hidden = {}
        self._named_directories = set()
        self._number = -1

    def add(self, member: Member, reader: TarReader, layer_name: str) -> None:
        self._number += 1
        path = member.name
        above, _, base = path.rpartition(b"/")
        self._budget.spend_name(len(base))
        if b".wh." in path:
            if base.startswith(names.WHITEOUT_PREFIX):
                self._whiteout(above, base, layer_name)
                return
            if path.startswith(names.WHITEOUT_PREFIX) or b"/.wh." in path:
                self._report.dropped_others += 1
                return
        if not path:
            self._describe_root(member, layer_name)
        elif member.kind == DIRECTORY:
            self._directory(path, above, base, member)
        else:
            self._other(path, above, base, member, reader)

    def finish(self) -> FlattenReport:
        self._root.is_real = True
        for path, directory in _walk(self._root):
            self._writer.directory(path, directory.mode, directory.mtime)
        self._writer.finish()
        self._report.entries = self._writer.entries
        return self._report

    def _whiteout(self, above: bytes, base: bytes, layer_name: str) -> None:
        if base == names.OPAQUE_WHITEOUT:
            directory = self._enter(above, for_whiteout=True)
            if directory is not None:
                directory.opaque = max(directory.opaque, self._layer)
            return
        if base.startswith(names.AUFS_PREFIX):
            return
        name = names.hidden_by_whiteout(base, layer_name)
        directory = self._enter(above, for_whiteout=True)
        if directory is None:
            return
        node = directory.children.get(name)
        if node is None:
            directory.children[name] = self._claims[_WHITEOUT_CLAIM]
        elif isinstance(node, Directory):
            node.opaque = max(node.opaque, self._layer)
            node.hides_below = max(node.hides_below, self._layer)

    def _describe_root(self, member: Member, layer_name: str) -> None:
        if member.kind != DIRECTORY:
            raise UnsafeLayerError(
                f"layer {layer_name} has an entry that would replace the root directory"
            )
        self._describe(self._root, member)

    def _describe(self, directory: Directory, member: Member) -> None:
        """Take mode and time from the topmost layer that names the directory."""
        layer = self._layer
        if directory.described_by == layer or (
            directory.described_by < 0 and layer >= directory.hides_below
        ):
            directory.described_by = layer
            directory.mode = member.mode
            directory.mtime = member.mtime
            directory.is_real = True

    def _directory(self, path: bytes, above: bytes, base: bytes, member: Member) -> None:
        layer = self._layer
        parent = self._enter(above)
        if self._assumed and self._assumed.get(path, -1) > layer:
            del self._assumed[path]  # those above assumed rightly
        node = parent.children.get(base) if parent else None
        if parent is None or (isinstance(node, int) and node // 4 > layer):
            if path in self._hidden:
                raise _not_top_down(path)
            self._named_directories.add(path)
            return
        if node is None:
            node = parent.children[base] = Directory()
        elif isinstance(node, int):
            if node % 4 != _WHITEOUT_CLAIM:
                raise _not_top_down(path)
            node = parent.children[base] = Directory(opaque=layer)
        self._named_directories.add(path)
        self._describe(node, member)

    def _other(
        self, path: bytes, above: bytes, base: bytes, member: Member, reader: TarReader
    ) -> None:
        """Place anything but a directory."""
        layer = self._layer
        parent = self._enter(above)
        if path in self._assumed and member.kind in (SYMLINK, HARD_LINK):
            raise _not_top_down(path)
        if path in self._named_directories or path in self._entered or path in self._hidden:
            raise _not_top_down(path)
        if parent is None:
            self._hide(path, member)
            return
        node = parent.children.get(base)
        if isinstance(node, Directory):
            if node.is_real or layer < node.hides_below:
                # A higher layer put a directory here, which then holds only what higher layers
                # put into it.
                node.opaque = max(node.opaque, layer)
                node.hides_below = max(node.hides_below, layer)
                self._hide(path, member)
                return
        elif node is not None:
            if node // 4 > layer:
                self._hide(path, member)
                return
            if node % 4 != _WHITEOUT_CLAIM:
                raise _not_top_down(path)
        self._show(path, parent, base, member, reader)

    def _show(
        self, path: bytes, parent: Directory, base: bytes, member: Member, reader: TarReader
    ) -> None:
        kind = member.kind
        if kind == HARD_LINK:
            parent.children[base] = self._show_link(path, member)
            return
        parent.children[base] = self._claims[_CLAIM_KINDS.get(kind, _DROPPED_CLAIM)]
        if kind == FILE:
            self._report.bytes += member.size
            data = reader.padded_data()
            self._writer.file(path, member.mode, member.mtime, member.size, data)
        elif kind == SYMLINK:
            self._writer.symlink(path, member.link, member.mtime)
        else:
            self._report.count_dropped(kind)

    def _show_link(self, path: bytes, member: Member) -> int:
        """Write a hard link, or, when its target is not seen, the target itself."""
        target = self._target(member)
        if isinstance(target, Shown):
            return self._show_link_to(path, target)
        claim = self._claims[_CLAIM_KINDS.get(target.kind, _DROPPED_CLAIM)]
        if target.shown_as is not None:
            return self._show_link_to(path, Shown(target.shown_as, claim))
        target.shown_as = path
        if target.kind not in _CLAIM_KINDS:
            self._report.count_dropped(target.kind)
        elif target.kind == SYMLINK:
            self._writer.symlink(path, target.link, target.mtime)
        else:
            self._report.bytes += target.size
            self.owed.promise(target.number, path)
        return claim

    def _show_link_to(self, path: bytes, shown: Shown) -> int:
        if shown.claim % 4 != _DROPPED_CLAIM and not self.owed.link(path, shown.path):
            self._writer.hard_link(path, shown.path)
        return shown.claim

    def _target(self, member: Member) -> Hidden | Shown:
        """Find what this layer named before; other targets need the other way of merging."""
        hidden = self._hidden.get(member.link)
        if hidden is not None:
            return hidden
        above, _, base = member.link.rpartition(b"/")
        parent = self._root if not above else self._entered.get(above)
        claim = parent.children.get(base) if parent else None
        if isinstance(claim, int) and claim // 4 == self._layer and claim % 4 != _WHITEOUT_CLAIM:
            return Shown(member.link, claim)
        raise _not_top_down(member.link)

    def _hide(self, path: bytes, member: Member) -> None:
        self._budget.spend_name(len(path) + len(member.link))
        if member.kind == HARD_LINK:
            self._hidden[path] = self._target(member)
            return
        self._hidden[path] = Hidden(member, self._number)

    def _enter(self, path: bytes, *, for_whiteout: bool = False) -> Directory | None:
        """Give the directory into which this layer puts something; None if it is not seen."""
        entered = self._entered
        if path in entered:
            return entered[path]
        directory: Directory | None = self._root
        if self._root.opaque > self._layer:
            directory = None
        prefix = b""
        for base in path.split(b"/") if path else ():
            prefix = prefix + b"/" + base if prefix else base
            if prefix in entered:
                directory = entered[prefix]
                continue
            self._budget.spend_name(len(prefix))
            directory = self._enter_child(prefix, directory, base, for_whiteout=for_whiteout)
            if not for_whiteout:
                entered[prefix] = directory
        return directory

    def _enter_child(
        self, path: bytes, parent: Directory | None, base: bytes, *, for_whiteout: bool
    ) -> Directory | None:
        if path in self._hidden:
            raise _not_top_down(path)
        layer = self._layer
        node = parent.children.get(base) if parent else None
        if isinstance(node, int):
            if node == self._claims[_WHITEOUT_CLAIM]:
                # Absent below this layer, so it is a new directory for certain.
                node = Directory(opaque=layer)
                parent.children[base] = node  # type: ignore[union-attr]
            elif node // 4 == layer:
                raise _not_top_down(path)
        if path not in self._named_directories and not (
            isinstance(node, Directory) and node.hides_below == layer
        ):
            self._assumed[path] = layer
        if parent is None or isinstance(node, int):
            return None
        if node is None:
            self._budget.spend_name(DIRECTORY_BYTES)
            node = parent.children[base] = Directory()
        if not for_whiteout and layer >= node.hides_below:
            node.is_real = True
        return None if node.opaque > layer else node


def _not_top_down(path: bytes) -> NotTopDownError:
    return NotTopDownError(f"{names.show(path)} depends on what lower layers have")


def _walk(root: Directory) -> Iterator[tuple[bytes, Directory]]:
    """Give all directories, each before those in it."""
    waiting = [(b"", root)]
    while waiting:
        path, directory = waiting.pop()
        if directory.is_real:
            yield path, directory
        for name, child in directory.children.items():
            if isinstance(child, Directory):
                waiting.append((path + b"/" + name if path else name, child))
