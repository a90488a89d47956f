# SPDX-License-Identifier: BSD-3-Clause
"""A tree as one tar stream, written anew as images want it: no devices, no set-id bits, root's.

Unlike a layer, a tree has no whiteouts: a file whose name starts with `.wh.` is a file.
"""

from __future__ import annotations

from typing import BinaryIO

from shifter_imagegw.flatten import FlattenReport, UnsafeLayerError
from shifter_imagegw.flatten.limits import Budget
from shifter_imagegw.flatten.tar_reader import DIRECTORY, FILE, HARD_LINK, SYMLINK
from shifter_imagegw.flatten.tar_writer import TarWriter
from shifter_imagegw.importers.tar_source import PipeSource, reader_of


def repack(source: PipeSource, out: BinaryIO, budget: Budget) -> FlattenReport:
    """Copy the tree that `source` gives to `out`."""
    report = FlattenReport()
    writer = TarWriter(out)
    dropped: set[bytes] = set()
    reader = reader_of(source, budget)
    for member in reader:
        kind, path = member.kind, member.name
        if not path and kind != DIRECTORY:
            raise UnsafeLayerError(f"{source.name} has an entry that would replace its root")
        if kind == DIRECTORY:
            writer.directory(path, member.mode, member.mtime)
        elif kind == FILE:
            report.bytes += member.size
            writer.file(path, member.mode, member.mtime, member.size, reader.padded_data())
        elif kind == SYMLINK:
            writer.symlink(path, member.link, member.mtime)
        elif kind == HARD_LINK and member.link not in dropped:
            writer.hard_link(path, member.link)
        else:
            dropped.add(path)
            if kind != HARD_LINK:
                report.count_dropped(kind)
    source.read_to_end()
    writer.finish()
    report.entries = writer.entries
    return report
