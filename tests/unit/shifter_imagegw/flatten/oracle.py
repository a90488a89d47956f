# SPDX-License-Identifier: BSD-3-Clause
"""What a stack of layers means, as plainly as it can be said; slow and simple on purpose.

The tree is one dict from path to what is there. A layer is applied entry by entry, as the image
specification and umoci do it.
"""

from __future__ import annotations

import tarfile
from collections.abc import Sequence

from .layers import Entry, Tree


class BadLayerError(Exception):
    """A layer that cannot be applied."""


class Thing:
    """What a path has. Paths that are hard links of each other have the same `Thing`."""

    def __init__(self, kind: str, content: object = None, mode: int = 0o755, mtime: int = 0):
        self.kind, self.content, self.mode, self.mtime = kind, content, mode, mtime


def apply_all(layers: Sequence[Sequence[Entry]]) -> Tree:
    """Give the tree that `layers`, lowest first, make."""
    tree: dict[str, Thing] = {"": Thing("directory")}
    for layer in layers:
        _apply(tree, layer)
    return _finished(tree)


def _apply(tree: dict[str, Thing], layer: Sequence[Entry]) -> None:
    own: set[str] = set()  # paths that this layer brought, with all paths above them
    named: set[str] = set()  # directories that this layer has an entry for
    for entry in layer:
        above, _, base = _clean(entry.name).rpartition("/")
        if base == ".wh..wh..opq":
            _hide(tree, _resolve(tree, above), own, named, itself=False)
        elif base.startswith(".wh."):
            parent = _resolve(tree, above)
            if parent in tree and tree[parent].kind == "directory":
                _hide(tree, _join(parent, base[4:]), own, named, itself=True)
        elif not base:
            if entry.kind != tarfile.DIRTYPE:
                raise BadLayerError("root")
            tree[""] = Thing("directory", mode=_readable(entry), mtime=entry.mtime)
        else:
            _place(tree, entry, above, base, own, named)


def _place(
    tree: dict[str, Thing],
    entry: Entry,
    above: str,
    base: str,
    own: set[str],
    named: set[str],
) -> None:
    thing = _thing(tree, entry)
    path = _join(_resolve(tree, above), base)
    for parent in _parents(path):
        if parent not in tree or tree[parent].kind != "directory":
            tree[parent] = Thing("directory")
        own.add(parent)
    own.add(path)
    is_directory = thing.kind == "directory"
    if path in tree and not (is_directory and tree[path].kind == "directory"):
        _remove(tree, path)
        own -= {one for one in own if one.startswith(path + "/")}
        named -= {one for one in named if one == path or one.startswith(path + "/")}
    tree[path] = thing
    if is_directory:
        named.add(path)


def _thing(tree: dict[str, Thing], entry: Entry) -> Thing:
    if entry.kind == tarfile.DIRTYPE:
        return Thing("directory", mode=_readable(entry), mtime=entry.mtime)
    if entry.kind == tarfile.SYMTYPE:
        return Thing("symlink", entry.link, mtime=entry.mtime)
    if entry.kind == tarfile.REGTYPE:
        return Thing("file", entry.content, _readable(entry), entry.mtime)
    if entry.kind != tarfile.LNKTYPE:
        return Thing("dropped")
    above, _, base = _clean(entry.link).rpartition("/")
    target = tree.get(_join(_resolve(tree, above), base))
    if target is None or target.kind == "directory":
        raise BadLayerError("hard link")
    return target


def _hide(
    tree: dict[str, Thing], path: str, own: set[str], named: set[str], *, itself: bool
) -> None:
    """Remove what lower layers have at and below `path`."""
    for one in [path, *_below(tree, path)]:
        if one not in tree or (one == path and not itself):
            continue
        if one not in own:
            _remove(tree, one)
        elif tree[one].kind == "directory" and one not in named:
            tree[one] = Thing("directory")


def _resolve(tree: dict[str, Thing], path: str) -> str:
    """Follow the symbolic links in `path`, never out of the root."""
    done, todo, links = "", path, 0
    while todo:
        part, _, todo = todo.partition("/")
        if part in ("", "."):
            continue
        if part == "..":
            done = done.rpartition("/")[0]
            continue
        here = tree.get(_join(done, part))
        if here is None or here.kind != "symlink":
            done = _join(done, part)
            continue
        links += 1
        if links > 255:
            raise BadLayerError("circle")
        todo = f"{here.content}/{todo}"
        if todo.startswith("/"):
            done = ""
    return done


def _finished(tree: dict[str, Thing]) -> Tree:
    kept = {path: thing for path, thing in tree.items() if thing.kind != "dropped"}
    result: Tree = {}
    for path, thing in kept.items():
        names = tuple(sorted(other for other in kept if kept[other] is thing))
        if thing.kind == "directory":
            result[path] = ("directory", thing.mode, thing.mtime)
        elif thing.kind == "symlink":
            result[path] = ("symlink", thing.content, thing.mtime, names)
        else:
            result[path] = ("file", thing.content, thing.mode, thing.mtime, names)
    return result


def _readable(entry: Entry) -> int:
    """What `chmod a+rX,u+w` gives, without the set-id bits."""
    mode = entry.mode & 0o777 | 0o644
    if entry.kind == tarfile.DIRTYPE:
        return mode | 0o111 | entry.mode & 0o1000
    return mode | 0o111 if entry.mode & 0o111 else mode


def _clean(name: str) -> str:
    return "/".join(part for part in name.split("/") if part not in ("", "."))


def _join(above: str, base: str) -> str:
    return f"{above}/{base}" if above else base


def _parents(path: str) -> list[str]:
    parts = path.split("/")[:-1]
    return ["/".join(parts[: count + 1]) for count in range(len(parts))]


def _below(tree: dict[str, Thing], path: str) -> list[str]:
    start = f"{path}/" if path else ""
    return [one for one in tree if one and one.startswith(start) and one != path]


def _remove(tree: dict[str, Thing], path: str) -> None:
    for one in [path, *_below(tree, path)]:
        tree.pop(one, None)
