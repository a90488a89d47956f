# SPDX-License-Identifier: BSD-3-Clause
"""Bytes that compress as real files do: cut from what is installed on this machine."""

from __future__ import annotations

import itertools
import os
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

from benchmarks.layers import Content
from benchmarks.programs import BenchmarkError

ROOTS = (Path("/usr/bin"), Path("/usr/lib"), Path("/usr/share"), Path(sys.prefix) / "lib")
ELF_MAGIC = b"\x7fELF"

Donors = Mapping[Content, Sequence[Path]]


def find(roots: Iterable[Path] = ROOTS) -> Donors:
    """The regular files below `roots` by what they hold, in an order that is always the same."""
    donors: dict[Content, list[Path]] = {content: [] for content in Content}
    for path in sorted(path for root in roots for path in _files(root)):
        donors[_content(path)].append(path)
    everything = [path for paths in donors.values() for path in paths]
    if not everything:
        raise BenchmarkError(f"no files to take bytes from in {', '.join(map(str, roots))}")
    return {content: paths or everything for content, paths in donors.items()}


class Source:
    """All donors of one kind, one after the other and round again; `start` is from 0 to 1."""

    def __init__(self, donors: Sequence[Path], start: float) -> None:
        first = int(len(donors) * start)
        self._chunks = _endless(itertools.cycle([*donors[first:], *donors[:first]]), len(donors))
        self._rest = b""

    def read(self, size: int) -> bytes:
        """Exactly `size` bytes."""
        parts = []
        while size > 0:
            self._rest = self._rest or next(self._chunks)
            part, self._rest = self._rest[:size], self._rest[size:]
            parts.append(part)
            size -= len(part)
        return b"".join(parts)


def _files(root: Path) -> Iterator[Path]:
    for directory, _, names in os.walk(root):
        for name in names:
            path = Path(directory, name)
            if path.is_file() and not path.is_symlink() and os.access(path, os.R_OK):
                yield path


def _content(path: Path) -> Content:
    if path.suffix == ".py":
        return Content.PYTHON
    if path.suffix == ".pyc":
        return Content.BYTECODE
    with path.open("rb") as file:
        return Content.LIBRARY if file.read(len(ELF_MAGIC)) == ELF_MAGIC else Content.TEXT


def _endless(paths: Iterator[Path], count: int) -> Iterator[bytes]:
    """The bytes of `paths`, which come round after `count`, in chunks."""
    empty = 0
    for path in paths:
        empty += 1
        with path.open("rb") as file:
            while chunk := file.read(1 << 18):
                empty = 0
                yield chunk
        if empty > count:
            raise BenchmarkError(f"no bytes in {path} or any file like it")
