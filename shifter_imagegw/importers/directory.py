# SPDX-License-Identifier: BSD-3-Clause
"""A directory tree on the gateway's host: a root that a site keeps, or what a user built.

It is read twice, first for its id, which is the digest of its content, then for the image.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from io import FileIO
from typing import BinaryIO, cast

from shifter_imagegw.errors import PullError
from shifter_imagegw.flatten import FlattenReport
from shifter_imagegw.importers.child import Line, running_as
from shifter_imagegw.importers.identity import may_become_others
from shifter_imagegw.importers.job import ImportJob
from shifter_imagegw.importers.reach import Rules, open_directory
from shifter_imagegw.importers.tar_source import read_when_ready
from shifter_imagegw.importers.tree import Tree
from shifter_imagegw.pulling.origin import SourceImage, StreamedOrigin
from shifter_imagegw.records import PullState


class DirectoryOrigin(StreamedOrigin):
    """The tree at a path, as its importer may read it."""

    def __init__(self, job: ImportJob) -> None:
        self._job = job
        self._digest = ""

    def resolve(self) -> SourceImage:
        self._job.lease.enter(PullState.HASHING, "HASHING")
        self._digest, _ = self._read(lambda _: None)
        image_id = self._digest.partition(":")[2]
        return SourceImage(image_id=image_id, digest=self._digest, user=self._job.who.name)

    def write_tar(self, out: BinaryIO) -> FlattenReport:
        self._job.lease.enter(PullState.CONVERSION, "Converting image")
        digest, report = self._read(out.write)
        if digest != self._digest:
            raise PullError(
                f"{self._job.shown} changed while it was imported: try again when nothing writes"
                " there"
            )
        return report

    def _read(self, take: Callable[[bytes], object]) -> tuple[str, FlattenReport]:
        """Have the tree's tar stream go to `take`; its digest and what was counted."""
        becomes = may_become_others()
        rules = Rules(None if becomes else self._job.who)
        path, limits = self._job.path, self._job.limits
        source, sink = _pipe()

        def work(line: Line) -> None:
            out = cast("BinaryIO", _Whole(sink))
            report = Tree(out, rules, limits).write(open_directory(path, rules))
            sink.close()
            line.send({"report": vars(report)})

        with source, sink:
            who = self._job.who if becomes else None
            with running_as(who, work, keeping=(sink.fileno(),)) as line:
                sink.close()
                with source:  # not open for longer: who writes must see that nobody reads
                    digest = self._copy(source, take)
                answer = line.receive(self._job.lease.require_held)
        return f"sha256:{digest}", _report_of(answer[0] if answer else {}, self._job.path)

    def _copy(self, source: FileIO, take: Callable[[bytes], object]) -> str:
        digest = hashlib.sha256()
        while data := read_when_ready(source.fileno(), self._job.lease.require_held):
            digest.update(data)
            take(data)
            self._job.lease.add_bytes(len(data))
        return digest.hexdigest()


def _pipe() -> tuple[FileIO, FileIO]:
    source, sink = os.pipe()
    return FileIO(source, "rb"), FileIO(sink, "wb")


class _Whole:
    """Writes all of what it gets into a pipe, which takes what there is room for."""

    def __init__(self, pipe: FileIO) -> None:
        self._pipe = pipe

    def write(self, data: bytes) -> int:
        rest = memoryview(data)
        while rest:
            rest = rest[self._pipe.write(rest) :]
        return len(data)


def _report_of(message: dict[str, object], path: str) -> FlattenReport:
    counts = message.get("report")
    if isinstance(counts, dict):
        return FlattenReport(**counts)
    error = message.get("error")
    raise PullError(str(error) if error else f"the process that read {path!r} ended early")
