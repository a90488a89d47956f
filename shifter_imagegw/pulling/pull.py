# SPDX-License-Identifier: BSD-3-Clause
"""A pull or an import, from a claimed job to an image that is READY."""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import logging
import os
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TypeVar

from shifter_common.errors import ShifterError
from shifter_common.metadata import ImageMetadata
from shifter_imagegw import formats, importers
from shifter_imagegw.acl import Acl, acl_after_pull
from shifter_imagegw.catalog import Catalog
from shifter_imagegw.config import GatewayConfig
from shifter_imagegw.delivery import Delivery, tag_index
from shifter_imagegw.errors import PullError
from shifter_imagegw.login_tries import LoginTries
from shifter_imagegw.operation import usage
from shifter_imagegw.operation.logs import Facts
from shifter_imagegw.pulling import registry_origin
from shifter_imagegw.pulling.lease import Lease
from shifter_imagegw.pulling.origin import OpenOrigin, Origin, SourceImage
from shifter_imagegw.pulling.registry_origin import Logins
from shifter_imagegw.records import ImageRecord, PublishedImage, PullState
from shifter_imagegw.registry import BlobCache

log = logging.getLogger(__name__)

# A variable of the original's workers: .meta files get no access lists.
NO_ACL_IN_METADATA = "DISABLE_ACL_METADATA"

_MOST_NAMES = 1000  # of one image

T = TypeVar("T")


class Pull:
    """One pull; `run` is the list of its steps."""

    def __init__(
        self,
        lease: Lease,
        logins: Logins,
        *,
        worker: str,
        config: GatewayConfig,
        catalog: Catalog,
        delivery: Delivery,
        cache: BlobCache,
        environment: Mapping[str, str] = os.environ,
    ) -> None:
        self._lease = lease
        self._record = lease.claim.record
        self._logins = logins
        self._worker = worker
        self._config = config
        self._catalog = catalog
        self._delivery = delivery
        self._cache = cache
        self._acl_in_metadata = not environment.get(NO_ACL_IN_METADATA)

    def run(self) -> ImageRecord:
        """Make the image that the job asks for; its record, READY."""
        self._require_possible()
        with self._origin() as origin:
            image = self._private_or_not(self._claim_id(origin.resolve()))
            self._require_room_for_name(image)
            if self._is_delivered(image):
                origin.require_readable()
                with self._indexed(image):
                    return self._publish(image, self._deliver_metadata(image))
            with self._staging(image) as staged:
                self._convert(origin, image, staged)
                self._examine(image, staged)
                size = self._deliver(image, staged)
            with self._indexed(image):
                return self._publish(image, size)

    def _require_possible(self) -> None:
        formats.require_known(self._record.format)
        self._delivery.require_usable()

    def _origin(self) -> OpenOrigin:
        if self._record.is_import:
            return importers.opened(
                self._record,
                config=self._config,
                platform=registry_origin.platform_of(self._record.system, self._config),
                limits=registry_origin.flatten_limits(self._config),
                lease=self._lease,
            )
        puller = self._record.puller
        tries = LoginTries(self._catalog, time.time)
        return registry_origin.opened(
            self._record,
            self._logins,
            config=self._config,
            cache=self._cache,
            lease=self._lease,
            watch=None if puller is None else tries.watch(puller),
        )

    def _claim_id(self, image: SourceImage) -> SourceImage:
        """Hold the image, so that nobody else changes its files; the id that it is to have."""
        self._hold(image.image_id)
        if not self._record.is_import or not self._is_anothers(image):
            return image
        own_id = _own_id(self._record, image.digest)
        log.info("id taken image=%s instead=%s", image.image_id, own_id)
        self._hold(own_id)
        return dataclasses.replace(image, image_id=own_id)

    def _require_room_for_name(self, image: SourceImage) -> None:
        """Refuse one name too many: whoever looks up the image by any of them is told all."""
        existing = self._existing(image)
        names = existing.tags if existing is not None else ()
        if len(names) >= _MOST_NAMES and self._record.pull_tag not in names:
            raise PullError(
                f"cannot give the image another name: it has {len(names)} on"
                f" {self._record.system}, the first of them {names[0]!r}: use one of these"
            )

    def _private_or_not(self, image: SourceImage) -> SourceImage:
        """What the registry did not say, because it was asked too often, may be known here."""
        if not image.is_private_known:
            existing = self._existing(image)
            if existing is not None and not existing.is_restricted:
                return dataclasses.replace(image, private=False)
        return image

    def _hold(self, image_id: str) -> None:
        is_told = False

        def tell() -> None:
            nonlocal is_told
            if not is_told:
                is_told = True
                waiting = "Waiting for another pull of the same image"
                self._lease.enter(PullState.PULLING, waiting)

        self._lease.hold(image_id, keep_waiting=tell)
        self._delivery.shut_out_others(image_id, self._worker)

    def _is_anothers(self, image: SourceImage) -> bool:
        """Whether the id is that of other content, which files can be made for, or of another user.

        Who imports makes no use of another user's image: that one may change its lists, have it
        removed, or import something else under its names. Nor has the importer shown yet to have
        more of it than what its id is made of.
        """
        with_this_id = (self._find_id(image.image_id, known) for known in formats.FORMATS)
        wanted = (image.digest, self._record.puller)
        return any(record and (record.digest, record.puller) != wanted for record in with_this_id)

    def _is_delivered(self, image: SourceImage) -> bool:
        if self._record.is_import and self._existing(image) is None:
            return False  # a file of that name may hold anything
        return self._delivery.is_delivered(image.image_id, self._record.format)

    def _deliver_metadata(self, image: SourceImage) -> int:
        self._lease.enter(PullState.TRANSFER, self._transfer("metadata"))
        self._delivery.deliver_metadata(
            image.image_id, self._worker, self._metadata(image), confirm=self._lease.confirm
        )
        return self._delivery.size(image.image_id, self._record.format)

    def _staging(self, image: SourceImage) -> AbstractContextManager[Path]:
        return self._delivery.staging(image.image_id, self._record.format, self._worker)

    def _convert(self, origin: Origin, image: SourceImage, staged: Path) -> None:
        """Make the image file, all of it in one go."""
        if origin.is_ready_made(self._record.format):
            origin.copy(staged)
            return
        options = self._config.converter_options.get(self._record.format, ())
        report = formats.make(self._record.format, origin.write_tar, staged, options)
        log.info("layers flattened image=%s %s", image.image_id, Facts(vars(report)))

    def _examine(self, image: SourceImage, staged: Path) -> None:
        """Let the site's program see the image before anybody else does."""
        program = self._config.examiner
        if program is None:
            return
        from shifter_imagegw.pulling import examine  # many sites have none

        self._lease.enter(PullState.EXAMINATION, "Examining image")
        examine.examine(
            staged,
            self._record.format,
            image.image_id,
            program=program,
            timeout=self._config.examiner_timeout,
            scratch=self._config.expand_directory,
            keep_going=self._lease.require_held,
        )

    def _deliver(self, image: SourceImage, staged: Path) -> int:
        self._lease.enter(PullState.TRANSFER, self._transfer("image"))
        return self._delivery.deliver(
            staged,
            image.image_id,
            self._record.format,
            self._worker,
            self._metadata(image),
            confirm=self._lease.confirm,
        )

    def _transfer(self, what: str) -> str:
        # The original's words for each; they stay on the record of the finished image.
        return "TRANSFER" if self._record.is_import else f"Transferring {what}"

    @contextlib.contextmanager
    def _indexed(self, image: SourceImage) -> Iterator[None]:
        """Let the tag mean the image while the body makes it READY, and then what is true."""
        image_type, tag = self._record.image_type, self._record.pull_tag
        self._delivery.index(image_type, tag, image.image_id)
        try:
            yield
        finally:
            try:
                tag_index.settle(
                    self._record.system, self._catalog, self._delivery,
                    image_type, tag, image.image_id,
                )  # fmt: skip
            except ShifterError as error:
                log.warning("tag index not checked image=%s:%s reason=%s", image_type, tag, error)

    def _publish(self, image: SourceImage, size: int) -> ImageRecord:
        now = time.time()
        config = image.config
        platform = config.platform or registry_origin.platform_of(self._record.system, self._config)
        published = PublishedImage(
            image_id=image.image_id,
            format=self._record.format,
            architecture=platform.architecture,
            os=platform.os,
            private=image.private,
            env=config.env or None,
            entry=config.entrypoint,
            command=config.command,
            workdir=config.workdir,
            labels=config.labels or None,
            size=size,
            expiration=now + self._config.image_expiration.total_seconds(),
            digest=image.digest,
            details=image.details,
        )
        ready = self._lease.insist(lambda: self._catalog.publish(self._lease.claim, published, now))
        usage.note_end(self._catalog, self._record, ready)
        return ready

    def _metadata(self, image: SourceImage) -> str:
        acl = self._acl(image) if self._acl_in_metadata else Acl()
        config = image.config
        return ImageMetadata(
            format=self._record.format,
            entry=_list_or_none(config.entrypoint),
            command=_list_or_none(config.command),
            workdir=config.workdir,
            env=list(config.env),
            user_acl=_list_or_none(acl.users),
            group_acl=_list_or_none(acl.groups),
            user=image.user,
        ).to_text()

    def _acl(self, image: SourceImage) -> Acl:
        """Who the runtime lets in: the same as the catalog does once the image is READY."""
        record = self._record
        existing = self._existing(image) or self._lease.insist(
            lambda: self._catalog.find_ready(record.system, record.image_type, record.pull_tag)
        )
        return acl_after_pull(
            record, image_id=image.image_id, private=image.private, existing=existing
        )

    def _existing(self, image: SourceImage) -> ImageRecord | None:
        return self._find_id(image.image_id, self._record.format)

    def _find_id(self, image_id: str, format: str) -> ImageRecord | None:
        return self._lease.insist(
            lambda: self._catalog.find_ready_id(self._record.system, image_id, format)
        )


def warn_of(environment: Mapping[str, str]) -> None:
    """Say when a worker starts what its environment changes for the worse."""
    if environment.get(NO_ACL_IN_METADATA):
        log.warning(
            "%s is set: .meta files get no access lists, so whoever knows the id of a private"
            " image may run it",
            NO_ACL_IN_METADATA,
        )


def _own_id(record: ImageRecord, digest: str) -> str:
    """The id of an import whose first choice is taken; no content has this sha256 but this text."""
    return hashlib.sha256(f"import of {record.puller}: {digest}".encode()).hexdigest()


def _list_or_none(values: Sequence[T] | None) -> list[T] | None:
    return list(values) if values else None
