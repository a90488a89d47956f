# SPDX-License-Identifier: BSD-3-Clause
"""What is in the benchmark's image: a distribution, a scientific Python, and what builds do to it.

The plan is pure and depends on scale and seed alone. At scale 1 about 40,000 entries and 700 MB can
be seen in the image; its eight layers hold about a third more, which upper layers replace or hide.
"""

from __future__ import annotations

import dataclasses
import enum
import math
import random
from collections.abc import Sequence

VISIBLE_BYTES = 700_000_000
PACKED_FILES = 38_100  # in the four lower layers, so that 40,000 entries stay visible
WHITEOUT = ".wh."
OPAQUE_WHITEOUT = ".wh..wh..opq"


class Kind(enum.Enum):
    DIRECTORY = enum.auto()
    FILE = enum.auto()  # whiteouts too: empty files with a telling name
    SYMLINK = enum.auto()
    HARD_LINK = enum.auto()


class Content(enum.Enum):
    """What a file's bytes are like: how well they compress, how long they run."""

    LIBRARY = "library"
    PYTHON = "python"
    BYTECODE = "bytecode"
    TEXT = "text"


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One member of a layer; paths are relative to the root of the image, `size` in bytes."""

    path: str
    kind: Kind = Kind.FILE
    mode: int = 0o644
    size: int = 0
    content: Content = Content.TEXT
    target: str = ""


# Median and sigma of a log-normal size in bytes, its end, name's suffix, mode.
SIZES = {
    Content.LIBRARY: (60_000, 1.75, 60_000_000, ".so", 0o755),
    Content.PYTHON: (4_000, 1.3, 600_000, ".py", 0o644),
    Content.BYTECODE: (4_000, 1.2, 600_000, ".cpython-311.pyc", 0o644),
    Content.TEXT: (1_500, 1.66, 4_000_000, "", 0o644),
}


@dataclasses.dataclass(frozen=True, kw_only=True)
class _Package:
    """What a build step installs: where, how many of all files, and of which content."""

    below: str
    share: float
    libraries: float
    python: float
    bytecode: float


DISTRIBUTION = (
    _Package(below="usr/lib/x86_64-linux-gnu", share=0.06, libraries=0.2, python=0, bytecode=0),
    _Package(below="usr/share", share=0.26, libraries=0, python=0, bytecode=0),
    _Package(below="usr/libexec", share=0.02, libraries=0.3, python=0.1, bytecode=0),
)
ADDED_PACKAGES = (
    _Package(below="usr/lib", share=0.08, libraries=0.06, python=0.3, bytecode=0),
    _Package(below="usr/share/doc", share=0.06, libraries=0, python=0, bytecode=0),
)
PYTHON = (
    _Package(below="usr/lib/python3.11", share=0.12, libraries=0.02, python=0.5, bytecode=0.45),
)
SCIENCE = (
    _Package(
        below="opt/env/lib/python3.11/site-packages",
        share=0.40,
        libraries=0.045,
        python=0.48,
        bytecode=0.38,
    ),
)
LOWER_LAYERS = (DISTRIBUTION, ADDED_PACKAGES, PYTHON, SCIENCE)

REPLACED = 0.22  # of the files below, by the layer that upgrades packages
REMOVED = 0.05  # of the files below, by the layer that cleans up
SYLLABLES = [a + b for a in "bcdfglmnprstv" for b in "aeiou"]


def plan(scale: float, seed: int = 2015) -> list[list[Entry]]:
    """The layers, lowest first; `scale` multiplies both the entries and the bytes."""
    build = _Build(random.Random(seed), scale)
    build.lay_skeleton()
    for packages in LOWER_LAYERS:
        build.install(packages)
    build.upgrade()
    build.clean_up()
    build.add_application()
    build.add_settings()
    return _resized(build.layers, VISIBLE_BYTES * scale)


def visible(layers: Sequence[Sequence[Entry]]) -> dict[str, Entry]:
    """What applying the layers one after the other leaves, by path."""
    tree: dict[str, Entry] = {}
    for layer in layers:
        _remove_hidden(tree, layer)
        for entry in layer:
            name = entry.path.rpartition("/")[2]
            if name.startswith(WHITEOUT):
                continue
            below = tree.get(entry.path)
            if below and below.kind is Kind.DIRECTORY and entry.kind is not Kind.DIRECTORY:
                _remove_below(tree, entry.path)
            # A hard link shows the file that its target was when the link was made.
            tree[entry.path] = tree[entry.target] if entry.kind is Kind.HARD_LINK else entry
    return tree


def _remove_hidden(tree: dict[str, Entry], layer: Sequence[Entry]) -> None:
    """Take away what whiteouts of `layer` hide; they never touch their own layer."""
    for entry in layer:
        parent, _, name = entry.path.rpartition("/")
        if name == OPAQUE_WHITEOUT:
            _remove_below(tree, parent)
        elif name.startswith(WHITEOUT):
            hidden = f"{parent}/{name.removeprefix(WHITEOUT)}".removeprefix("/")
            if tree.pop(hidden).kind is Kind.DIRECTORY:
                _remove_below(tree, hidden)


def _remove_below(tree: dict[str, Entry], path: str) -> None:
    for below in [other for other in tree if other.startswith(path + "/")]:
        del tree[below]


def _resized(layers: list[list[Entry]], visible_bytes: float) -> list[list[Entry]]:
    """The same layers with every file longer or shorter, so that the visible bytes come out."""
    # Two names of one file are one entry.
    files = {id(entry): entry.size for entry in visible(layers).values()}
    factor = visible_bytes / sum(files.values())
    return [
        [dataclasses.replace(entry, size=round(entry.size * factor)) for entry in layer]
        for layer in layers
    ]


class _Build:
    """The layers so far, and which files and directories a further one may change."""

    def __init__(self, rng: random.Random, scale: float) -> None:
        self.layers: list[list[Entry]] = [[]]
        self._rng = rng
        self._files_in_all = max(round(PACKED_FILES * scale), 40)
        self._files: list[Entry] = []
        self._packages: list[str] = []
        self._paths: set[str] = set()

    def lay_skeleton(self) -> None:
        """What every distribution has before anything is installed."""
        for path in ("dev", "etc", "home", "opt", "proc", "root", "run", "sys", "tmp", "var"):
            mode = {"root": 0o700, "tmp": 0o1777}.get(path, 0o755)
            self._add(Entry(path=path, kind=Kind.DIRECTORY, mode=mode))
        self._add_directories("usr/bin")
        for name in ("bin", "lib", "sbin"):
            self._add(Entry(path=name, kind=Kind.SYMLINK, target=f"usr/{name}"))
        self._add(Entry(path="etc/hostname", size=9))
        self._add(Entry(path="etc/shadow", mode=0o600, size=700))
        self._add(Entry(path="usr/bin/su", mode=0o4755, size=70_000, content=Content.LIBRARY))

    def install(self, packages: Sequence[_Package]) -> None:
        """One layer of packages; the first goes on top of the skeleton."""
        if self._files:
            self.layers.append([])
        for package in packages:
            self._add_directories(package.below)
            self._install(package, max(round(self._files_in_all * package.share), 4))

    def upgrade(self) -> None:
        """Replace files of the layers below, and give some of the new ones a second name."""
        self.layers.append([])
        replaced = self._rng.sample(self._files, round(len(self._files) * REPLACED))
        for old in replaced:
            self.layers[-1].append(dataclasses.replace(old, size=self._size(old.content)))
        # Builders store the file of a new link too, and podman cannot unpack a layer without it.
        for old in replaced[: max(len(self._files) // 300, 1)]:
            self._add_link(old, "-compatible")

    def clean_up(self) -> None:
        """Hide single files and whole packages, empty a directory, turn a directory into a link."""
        self.layers.append([])
        single = self._rng.sample(self._files, round(len(self._files) * REMOVED))
        packages = self._separate_packages(max(len(self._packages) // 60, 3))
        turned, emptied, *whole = packages
        for path in [*whole, *(file.path for file in single if not _is_below(file, packages))]:
            self._hide(path)
        self.layers[-1].append(Entry(path=turned, kind=Kind.SYMLINK, target="/tmp"))
        self.layers[-1].append(Entry(path=f"{emptied}/{OPAQUE_WHITEOUT}"))
        self.layers[-1].append(Entry(path=f"{emptied}/kept.txt", size=100))
        gone = {file.path for file in single}
        self._files = [
            file for file in self._files if file.path not in gone and not _is_below(file, packages)
        ]

    def add_application(self) -> None:
        """The user's own program, in names that need an extended header, linked among itself."""
        self.layers.append([])
        self._add_directories("opt/application/données")
        package = _Package(below="opt/application", share=0, libraries=0.05, python=0.5, bytecode=0)
        before = len(self._files)
        self._install(package, max(self._files_in_all // 100, 4))
        for old in self._files[before : before + max(self._files_in_all // 400, 2)]:
            self._add_link(old, "-link")
        self._add(Entry(path="opt/application/données/" + "long-name-" * 15 + "é", size=64))

    def add_settings(self) -> None:
        """A last small step: settings, and the first names of linked files disappear."""
        self.layers.append([])
        self._add_directories("etc/application")
        self._add(Entry(path="etc/application/settings.ini", size=400))
        self.layers[-1].append(Entry(path="etc/hostname", size=12))
        for link in [entry for entry in self.layers[-2] if entry.kind is Kind.HARD_LINK]:
            self._hide(link.target)

    def _install(self, package: _Package, files: int) -> None:
        """Directories of a dozen files each, a third of them inside another one."""
        while files > 0:
            outer = self._packages[-1] if self._packages else ""
            nested = outer.startswith(package.below + "/") and self._rng.random() < 0.33
            directory = self._new_path(outer if nested else package.below, "")
            self._add(Entry(path=directory, kind=Kind.DIRECTORY, mode=0o755))
            self._packages.append(directory)
            inside = min(files, max(1, round(self._rng.lognormvariate(math.log(8), 0.9))))
            for _ in range(inside):
                self._add_file(directory, self._content(package))
            files -= inside

    def _separate_packages(self, count: int) -> list[str]:
        """At most so many packages, none inside another."""
        chosen: list[str] = []
        for package in self._rng.sample(self._packages, len(self._packages)):
            within = any(_is_at_or_below(package, other) for other in chosen)
            around = any(_is_at_or_below(other, package) for other in chosen)
            if not within and not around and len(chosen) < count:
                chosen.append(package)
        return chosen

    def _content(self, package: _Package) -> Content:
        kinds = [Content.LIBRARY, Content.PYTHON, Content.BYTECODE, Content.TEXT]
        shares = [package.libraries, package.python, package.bytecode]
        return self._rng.choices(kinds, [*shares, max(0.0, 1 - sum(shares))])[0]

    def _add_file(self, directory: str, content: Content) -> None:
        *_, suffix, mode = SIZES[content]
        path = self._new_path(directory, suffix)
        file = Entry(path=path, mode=mode, size=self._size(content), content=content)
        self._add(file)
        self._files.append(file)
        # A library is found by a name without its version.
        if content is Content.LIBRARY and self._rng.random() < 0.6:
            name = path.rpartition("/")[2]
            self._add(Entry(path=f"{path}.1", kind=Kind.SYMLINK, target=name))

    def _add_link(self, file: Entry, ending: str) -> None:
        link = Entry(path=file.path + ending, kind=Kind.HARD_LINK, target=file.path, mode=file.mode)
        self._add(link)

    def _hide(self, path: str) -> None:
        parent, _, name = path.rpartition("/")
        self.layers[-1].append(Entry(path=f"{parent}/{WHITEOUT}{name}"))

    def _add_directories(self, path: str) -> None:
        """The directory and every one above it that is not there yet."""
        parts = path.split("/")
        for depth in range(1, len(parts) + 1):
            above = "/".join(parts[:depth])
            if above not in self._paths:
                self._add(Entry(path=above, kind=Kind.DIRECTORY, mode=0o755))

    def _add(self, entry: Entry) -> None:
        self._paths.add(entry.path)
        self.layers[-1].append(entry)

    def _new_path(self, directory: str, suffix: str) -> str:
        while True:
            name = "".join(self._rng.choices(SYLLABLES, k=self._rng.randint(2, 4)))
            path = f"{directory}/{name}{suffix}"
            if path not in self._paths:
                return path

    def _size(self, content: Content) -> int:
        median, sigma, end, *_ = SIZES[content]
        return min(round(self._rng.lognormvariate(math.log(median), sigma)), end)


def _is_below(file: Entry, directories: Sequence[str]) -> bool:
    return any(_is_at_or_below(file.path, directory) for directory in directories)


def _is_at_or_below(path: str, directory: str) -> bool:
    return path == directory or path.startswith(directory + "/")
