# SPDX-License-Identifier: BSD-3-Clause
"""A squashfs file that a user made.

A kernel that mounts a file trusts its every byte, so no file of a user's is published: the tree in
it is read by a program without privileges and packed anew. Where the site trusts the importer, the
file itself is taken, after the same program has read all of it.
"""

from __future__ import annotations

import hashlib
import os
from pathlib import Path
from typing import BinaryIO

from shifter_imagegw import run
from shifter_imagegw.errors import ConversionError
from shifter_imagegw.flatten import FlattenReport
from shifter_imagegw.flatten.limits import Budget
from shifter_imagegw.importers import superblock
from shifter_imagegw.importers.job import ImportJob
from shifter_imagegw.importers.repack import repack
from shifter_imagegw.importers.spool import Copy, pieces_of
from shifter_imagegw.importers.tar_source import PipeSource
from shifter_imagegw.pulling.origin import SourceImage
from shifter_imagegw.records import PullState

_SAMPLE = 1 << 20  # bytes …
_SAMPLE_EVERY = 512 << 20  # … of each so many
_MEMORY = 4 << 30  # bytes of address space for the program that reads users' files


class SquashfsOrigin:
    """The file that `descriptor` is."""

    def __init__(self, descriptor: int, job: ImportJob) -> None:
        self._descriptor = descriptor
        self._job = job
        self._copy: Copy | None = None

    def resolve(self) -> SourceImage:
        self._job.lease.enter(PullState.HASHING, "HASHING")
        size = os.fstat(self._descriptor).st_size
        self._job.spool.require_room(size, self._job.shown)
        start = os.pread(self._descriptor, superblock.SIZE, 0)
        superblock.check(start, size, most_inodes=self._job.limits.entries)
        self._job.lease.expect_bytes(size)
        copy = self._copy = self._job.spool.copy(pieces_of(self._descriptor), self._job.shown)
        start = os.pread(copy.descriptor, superblock.SIZE, 0)
        superblock.check(start, copy.size, most_inodes=self._job.limits.entries)
        return SourceImage(
            image_id=sampled_id(copy.descriptor), digest=copy.digest, user=self._job.who.name
        )

    def require_readable(self) -> None:
        pass  # the user's own file it was

    def is_ready_made(self, format: str) -> bool:
        return self._job.is_trusted and format == "squashfs"

    def copy(self, staged: Path) -> None:
        with open(os.devnull, "wb") as nowhere:
            self.write_tar(nowhere)
        try:
            with staged.open("wb", buffering=0) as file:
                for piece in pieces_of(self._copied.descriptor):
                    self._job.lease.require_held()
                    file.write(piece)
        except OSError as error:
            raise ConversionError(f"cannot write {staged}: {error.strerror}") from error

    def write_tar(self, out: BinaryIO) -> FlattenReport:
        self._job.lease.enter(PullState.CONVERSION, "Converting image")
        # The program, as nobody, opens it anew; it has no name by which others could.
        os.fchmod(self._copied.descriptor, 0o444)
        return run.drain(
            # Not `--no-skip`: sockets are in no tar archive, and no loss.
            ["sqfs2tar", "--no-xattr", "--root-becomes", ".", "/dev/stdin"],
            lambda pipe: self._repack(pipe, out),
            stdin=self._copied.descriptor,
            memory=_MEMORY,
            failing=ConversionError,
            package="squashfs-tools-ng",
        )

    def _repack(self, pipe: int, out: BinaryIO) -> FlattenReport:
        budget = Budget(self._job.limits)
        source = PipeSource(pipe, self._job.shown, budget, self._job.lease.require_held)
        return repack(source, out, budget)

    @property
    def _copied(self) -> Copy:
        assert self._copy is not None  # resolve() comes first
        return self._copy


def sampled_id(descriptor: int) -> str:
    """What the original's program `fasthash` gives: the sha256 of 1 MiB of each 512 MiB.

    Files of other content can be made that have the same; see `Pull`.
    """
    digest = hashlib.sha256()
    for offset in range(0, os.fstat(descriptor).st_size, _SAMPLE_EVERY):
        digest.update(os.pread(descriptor, _SAMPLE, offset))
    return digest.hexdigest()
