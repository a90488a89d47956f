# SPDX-License-Identifier: BSD-3-Clause
"""Images that users bring: squashfs files, archives, OCI layouts, directories.

A path is one on the gateway's host. It is opened as the user, see `reach`; what is then made of it
is as safe as what a registry sends, because it takes the same way.
"""

from __future__ import annotations

import contextlib
import os
import stat
from collections.abc import Iterator

from shifter_imagegw.config import GatewayConfig
from shifter_imagegw.errors import PullError
from shifter_imagegw.flatten import Limits
from shifter_imagegw.importers import archive, docker_archive, oci_layout, superblock
from shifter_imagegw.importers.directory import DirectoryOrigin
from shifter_imagegw.importers.docker_archive import DockerArchiveOrigin
from shifter_imagegw.importers.identity import Importer
from shifter_imagegw.importers.job import ImportJob
from shifter_imagegw.importers.oci_layout import OciLayoutOrigin
from shifter_imagegw.importers.small import Folder
from shifter_imagegw.importers.spool import Spool
from shifter_imagegw.importers.squashfs import SquashfsOrigin
from shifter_imagegw.importers.users_files import UsersFiles, UsersFolder, files_of
from shifter_imagegw.pulling.lease import Lease
from shifter_imagegw.pulling.origin import Origin
from shifter_imagegw.records import ImageRecord
from shifter_imagegw.registry import Platform

_SIF_START = b"#!/usr/bin/env run-singularity"


@contextlib.contextmanager
def opened(
    record: ImageRecord,
    *,
    config: GatewayConfig,
    platform: Platform,
    limits: Limits,
    lease: Lease,
) -> Iterator[Origin]:
    """The origin of an import; whatever it opened is closed when the body ends."""
    assert record.source_path is not None  # it is an import
    who = Importer.of(record.puller, named=config.import_users)
    with contextlib.ExitStack() as until_done:
        spool = Spool(config, lease)
        until_done.callback(spool.close)
        files = until_done.enter_context(files_of(who, lease.require_held))
        job = ImportJob(
            path=record.source_path,
            format=record.source_format or "auto",
            tag=record.pull_tag,
            who=who,
            is_trusted=who.name in config.trusted_importers,
            platform=platform,
            limits=limits,
            spool=spool,
            lease=lease,
        )
        yield _origin(job, files)


def _origin(job: ImportJob, files: UsersFiles) -> Origin:
    """What the path leads to decides, where the user has not said or is wrong."""
    descriptor = files.open(job.path)
    if stat.S_ISDIR(os.fstat(descriptor).st_mode):
        return _of_directory(job, files)
    return _of_file(job, descriptor)


def _of_directory(job: ImportJob, files: UsersFiles) -> Origin:
    folder = UsersFolder(job.path, files)
    wanted = job.format
    if wanted == "auto":
        wanted = "oci" if _is_layout(folder) else "directory"
    if wanted == "oci":
        return OciLayoutOrigin(folder, job)
    if wanted == "directory":
        return DirectoryOrigin(job)
    raise PullError(f"cannot import {job.shown} as {wanted}: it is a directory")


def _of_file(job: ImportJob, descriptor: int) -> Origin:
    start = os.pread(descriptor, len(_SIF_START), 0)
    is_squashfs = job.format == "auto" and start.startswith(superblock.MAGIC)
    if job.format == "squashfs" or is_squashfs:
        return SquashfsOrigin(descriptor, job)
    if job.format in ("oci", "directory"):
        raise PullError(f"cannot import {job.shown} as {job.format}: it is a file")
    if start == _SIF_START:
        raise PullError(
            f"cannot import {job.shown}: it is a SIF file; `apptainer sif dump` takes the squashfs"
            " file out of it, which can be imported"
        )
    return _of_archive(job, archive.opened(descriptor, job))


def _of_archive(job: ImportJob, found: archive.Archive) -> Origin:
    if job.format == "oci-archive" or (job.format == "auto" and _is_layout(found)):
        return OciLayoutOrigin(found, job)
    if job.format == "docker-archive" or docker_archive.MANIFEST in found:
        return DockerArchiveOrigin(found, job)
    raise PullError(
        f"cannot import {job.shown}: it is an archive, but of no image: it holds neither"
        f" {docker_archive.MANIFEST} nor {oci_layout.INDEX}; unpacked, it can be imported as a"
        " directory"
    )


def _is_layout(folder: Folder) -> bool:
    return oci_layout.LAYOUT in folder and oci_layout.INDEX in folder
