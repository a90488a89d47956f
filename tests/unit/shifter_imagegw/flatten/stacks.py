# SPDX-License-Identifier: BSD-3-Clause
"""Random stacks of layers over few names, so that they collide."""

from __future__ import annotations

from hypothesis import strategies as st

from .layers import Entry, device, directory, fifo, file, hard_link, opaque, symlink, whiteout
from .oracle import BadLayerError, apply_all

_NAMES = ("a", "b")
_PATHS = st.lists(st.sampled_from(_NAMES), min_size=1, max_size=3).map("/".join)
_TARGETS = st.one_of(
    _PATHS, _PATHS.map(lambda path: f"/{path}"), _PATHS.map(lambda path: f"../{path}")
)
_MODES = st.sampled_from((0o755, 0o700, 0o640, 0o4711, 0o1777, 0))
_TIMES = st.integers(0, 9)

_FILES = st.builds(file, _PATHS, st.sampled_from(("", "x", "yy", "z" * 600)), _MODES, _TIMES)
_DIRECTORIES = st.builds(directory, _PATHS, _MODES, _TIMES)
_REMOVALS = st.one_of(st.builds(whiteout, _PATHS), st.builds(opaque, _PATHS), st.just(opaque("")))
_LINKS = st.builds(hard_link, _PATHS, _PATHS)
_SYMLINKS = st.builds(symlink, _PATHS, _TARGETS)
_SPECIALS = st.one_of(st.builds(device, _PATHS), st.builds(fifo, _PATHS))
_ROOT = st.builds(directory, st.just("./"), _MODES, _TIMES)

_ANYTHING = st.one_of(
    _FILES, _DIRECTORIES, _FILES, _DIRECTORIES, _REMOVALS, _LINKS, _SYMLINKS, _SPECIALS, _ROOT
)


@st.composite
def tidy_layers(draw: st.DrawFn) -> list[Entry]:
    """A layer as builders make it: parents come first, and no path is there twice."""
    layer: list[Entry] = []
    kinds: dict[str, str] = {"": "directory"}
    for entry in draw(st.lists(_ANYTHING, max_size=8)):
        name = entry.name.removesuffix("/")
        above = name.rpartition("/")[0]
        parts = above.split("/") if above else []
        parents = ["/".join(parts[: count + 1]) for count in range(len(parts))]
        if any(kinds.get(parent, "directory") != "directory" for parent in parents):
            continue
        if name in kinds or name == ".":
            continue
        if entry.link and entry.kind == b"1" and kinds.get(entry.link) != "file":
            continue
        for parent in parents:
            if parent not in kinds:
                kinds[parent] = "directory"
                layer.append(directory(parent))
        layer.append(entry)
        if not name.rpartition("/")[2].startswith(".wh."):
            kinds[name] = {b"5": "directory", b"0": "file", b"1": "file"}.get(entry.kind, "other")
    return layer


def _without_refused(stack: list[list[Entry]]) -> list[list[Entry]]:
    """Leave out entries, hard links to nothing mostly, for which the whole would be refused."""
    kept: list[list[Entry]] = []
    for layer in stack:
        kept.append([])
        for entry in layer:
            kept[-1].append(entry)
            try:
                apply_all(kept)
            except BadLayerError:
                kept[-1].pop()
    return kept


_wild_stacks = st.lists(st.lists(_ANYTHING, max_size=7), min_size=1, max_size=5)

stacks = st.one_of(_wild_stacks.map(_without_refused), _wild_stacks)
tidy_stacks = st.lists(tidy_layers(), min_size=1, max_size=5)
