# SPDX-License-Identifier: BSD-3-Clause
"""What a module consists of, before anything is written: files, links, variables, conflicts."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Iterable

from shifter_cli.modules.search import Library

# Where the runtime shows the copyPath of a module.
INSIDE = "/opt/udiImage/modules"


@dataclasses.dataclass
class Content:
    """A module in the making; paths in it are relative, sources are paths of the node."""

    name: str
    files: dict[str, str] = dataclasses.field(default_factory=dict)  # path -> source
    links: dict[str, str] = dataclasses.field(default_factory=dict)  # path -> where it leads
    core: set[str] = dataclasses.field(default_factory=set)  # files without which nothing works
    variables: dict[str, str] = dataclasses.field(default_factory=dict)
    prepended: dict[str, list[str]] = dataclasses.field(default_factory=dict)
    conflicts: list[str] = dataclasses.field(default_factory=list)
    notes: list[str] = dataclasses.field(default_factory=list)  # what who prepares it should know

    def add_library(self, library: Library, directory: str = "lib") -> str:
        """Take a library along under all its names; the path of its file in the module.

        One file is taken once: the loader would take two of them for two libraries.
        """
        known = next((path for path, source in self.files.items() if source == library.path), None)
        path = known or self.add_file(library.path, directory)
        for name in sorted(library.names):
            self.add_link(f"{directory}/{name}", os.path.relpath(path, directory))
        return path

    def add_file(self, source: str, directory: str) -> str:
        """Take a file along; where one of that name is there, that one stays."""
        path = f"{directory}/{os.path.basename(source)}"
        other = self.files.setdefault(path, source)
        if other != source:
            self.notes.append(f"left out {source}: {other} has the same name")
        self.links.pop(path, None)
        return path

    def add_link(self, path: str, target: str) -> None:
        if path not in self.files:
            self.links.setdefault(path, target)

    def alias(self, one: str, other: str) -> None:
        """Let a library be found by either of two names, if it is there by one of them."""
        for here, there in ((one, other), (other, one)):
            if self.has(f"lib/{here}") and not self.has(f"lib/{there}"):
                self.add_link(f"lib/{there}", self.links.get(f"lib/{here}", here))

    def has(self, path: str) -> bool:
        return path in self.files or path in self.links

    def inside(self, path: str) -> str:
        """Where programs in a container see a path of the module."""
        return f"{INSIDE}/{self.name}/{path}"

    def lines(self, copy_path: str) -> list[str]:
        """What udiRoot.conf must say."""
        prefix = f"module_{self.name}_"
        prepended = (f"{name}={':'.join(paths)}" for name, paths in self.prepended.items())
        assigned = (f"{name}={value}" for name, value in self.variables.items())
        return [
            f"{prefix}copyPath = {copy_path}",
            *_line(f"{prefix}siteEnvPrepend", prepended),
            *_line(f"{prefix}siteEnv", assigned),
            *_line(f"{prefix}conflict", self.conflicts),
        ]


def _line(key: str, words: Iterable[str]) -> list[str]:
    text = " ".join(words)
    return [f"{key} = {text}"] if text else []
