# SPDX-License-Identifier: BSD-3-Clause
"""Who may import what under which name."""

from __future__ import annotations

import dataclasses
from pathlib import PurePosixPath

from shifter_common.reference import ImageReference
from shifter_imagegw.acl import Acl
from shifter_imagegw.catalog import Catalog
from shifter_imagegw.config import GatewayConfig, SystemConfig
from shifter_imagegw.errors import BadRequestError, NameTakenError, NotPermittedError
from shifter_imagegw.records import ImageRecord, JobKind, NewPull
from shifter_imagegw.rules import access
from shifter_imagegw.rules.auth import Caller
from shifter_imagegw.rules.jobs import Jobs

# What a file may be said to be; `auto` leaves it to the worker, who sees its content.
SOURCE_FORMATS = ("auto", "squashfs", "docker-archive", "oci-archive", "oci", "directory")

_IMPORTED_TYPES = ("custom", "docker")
_LONGEST_PATH = 4095  # bytes, as the kernel has it


@dataclasses.dataclass(frozen=True, kw_only=True)
class ImportSource:
    """A file or directory on the gateway's host, and what it is said to be."""

    path: str
    format: str

    @classmethod
    def checked(cls, path: str, format: str) -> ImportSource:
        """Take what came from outside; whether the file is there is seen by the worker."""
        if not path.startswith("/"):
            raise BadRequestError(f"cannot import {path[:80]!r}: filepath must be an absolute path")
        if not path.isprintable():  # NUL, line ends, halves of characters
            raise BadRequestError(f"cannot import {path[:80]!r}: filepath holds control characters")
        if len(path.encode()) > _LONGEST_PATH:
            raise BadRequestError(f"filepath is longer than {_LONGEST_PATH} bytes")
        if ".." in PurePosixPath(path).parts:
            raise BadRequestError(f"cannot import {path[:80]!r}: filepath must not hold '..'")
        if format not in SOURCE_FORMATS:
            raise BadRequestError(
                f"cannot import from format {format[:80]!r}: known are {', '.join(SOURCE_FORMATS)}"
            )
        return cls(path=path, format=format)


class Imports:
    """The rules of importing."""

    def __init__(self, config: GatewayConfig, catalog: Catalog, jobs: Jobs) -> None:
        self._config = config
        self._catalog = catalog
        self._jobs = jobs

    def ask(
        self,
        system: SystemConfig,
        reference: ImageReference,
        caller: Caller,
        source: ImportSource,
        asked: Acl,
    ) -> ImageRecord:
        """Have a file made an image; how far that is, or the image.

        As with a pull, clients may repeat the request until the answer is READY or FAILURE.
        """
        reference = reference.with_default_tag()
        self._require_allowed(reference, caller)
        acl = self._acl(system, reference, caller, asked)
        # Looked for first: an import that ends between the two looks is seen as READY.
        under_way = self._jobs.find(system, reference, caller)
        ready = self._catalog.find_ready(system.name, reference.image_type, reference.tag)
        if under_way is not None and under_way.is_in_flight:
            _require_same(under_way, reference, caller, source)
            return under_way
        if ready is not None and self._is_answer(ready, system, reference, caller, source, acl):
            return ready
        if ready is not None and not access.may_expire(ready, caller, system):
            raise NotPermittedError(
                f"{reference} is an image of somebody else on {system.name}: choose another name"
            )
        if (
            under_way is not None
            and under_way.puller == caller.uid
            and self._jobs.is_told(under_way, caller)
        ):
            return under_way
        self._jobs.quotas.require_room(system, caller, is_new=ready is None)
        new = NewPull(
            system=system.name,
            image_type=reference.image_type,
            pull_tag=reference.tag,
            format=self._config.default_format,
            user_acl=acl.users,
            group_acl=acl.groups,
            puller=caller.uid,
            source_path=source.path,
            source_format=source.format,
        )
        record = self._jobs.start(new, caller, system)
        _require_same(record, reference, caller, source)
        return record

    def _require_allowed(self, reference: ImageReference, caller: Caller) -> None:
        if not access.may_import(caller, self._config):
            raise NotPermittedError(
                "you may not import images: the site allows it to those whom ImportUsers in "
                "imagemanager.json names"
            )
        if reference.image_type not in _IMPORTED_TYPES:
            raise BadRequestError(
                f"cannot import {reference}: only images of type {' and '.join(_IMPORTED_TYPES)} "
                "are imported"
            )

    def _acl(
        self, system: SystemConfig, reference: ImageReference, caller: Caller, asked: Acl
    ) -> Acl:
        """Who may use it: everybody unless the caller says otherwise.

        Where anybody may import, what goes by a docker name is for its importer alone: others
        would take it for the registry's, and run it.
        """
        own = Acl(users=(caller.uid,))
        is_unvetted = self._config.anyone_may_import and not access.is_admin(caller, system)
        if reference.image_type == "docker" and is_unvetted:
            if asked.groups or not set(asked.users) <= set(own.users):
                raise NotPermittedError(
                    f"what you import as {reference} is for you alone, since others would take it "
                    f"for the registry's: import it as custom:{reference.tag} to share it"
                )
            return own
        return asked | own if asked else asked

    def _is_answer(
        self,
        ready: ImageRecord,
        system: SystemConfig,
        reference: ImageReference,
        caller: Caller,
        source: ImportSource,
        acl: Acl,
    ) -> bool:
        """Whether the image is what this request, or one like it, has made.

        One that was imported a moment ago is, wherever it came from: the same content from another
        file, or under another name, is the same image, and its record tells of the first.
        """
        if not ready.is_import or not access.may_read(ready, caller, system):
            return False
        is_anothers = ready.pull_tag == reference.tag and not access.is_owner(ready, caller)
        if self._jobs.is_recent(ready) and not is_anothers:
            return True
        is_same = (ready.source_path, ready.source_format) == (source.path, source.format)
        if not is_same or not self._jobs.is_fresh(ready):
            return False
        exactly = access.may_change_acl(ready, caller, system)
        return not acl or access.has_acl(ready, acl, exactly=exactly)


def _require_same(
    job: ImageRecord, reference: ImageReference, caller: Caller, source: ImportSource
) -> None:
    """Refuse to show `caller` the job of another as the answer to theirs."""
    asked = (caller.uid, source.path, source.format)
    if (job.puller, job.source_path, job.source_format) != asked:
        kind = "imported from another file" if job.is_import else "pulled"
        if job.kind is JobKind.ACL:
            kind = "given other readers"
        raise NameTakenError(
            f"{reference} is being {kind} just now: try again later, or choose another name"
        )
