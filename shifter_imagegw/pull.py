# SPDX-License-Identifier: BSD-3-Clause
"""A pull, from a claimed job to an image that is READY."""

from __future__ import annotations

import contextlib
import logging
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from pathlib import Path
from typing import BinaryIO, TypeVar

from shifter_common.metadata import ImageMetadata
from shifter_imagegw import location
from shifter_imagegw.catalog import Catalog
from shifter_imagegw.config import GatewayConfig
from shifter_imagegw.delivery import Delivery, lock
from shifter_imagegw.errors import PullError
from shifter_imagegw.flatten import FlattenReport, flatten
from shifter_imagegw.formats import squashfs
from shifter_imagegw.lease import Lease
from shifter_imagegw.location import Source
from shifter_imagegw.records import Acl, ImageRecord, PublishedImage, PullState, acl_after_pull
from shifter_imagegw.registry import (
    BlobCache,
    Credentials,
    Endpoint,
    ManifestNotFoundError,
    Platform,
    RegistryClient,
    RepositoryName,
    ResolvedImage,
    fetch_layers,
)

log = logging.getLogger(__name__)

PARALLEL_DOWNLOADS = 4

T = TypeVar("T")
Logins = Mapping[str, str]  # `user:password` by location; `default` is for all others


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
    ) -> None:
        self._lease = lease
        self._record = lease.claim.record
        self._logins = logins
        self._worker = worker
        self._config = config
        self._catalog = catalog
        self._delivery = delivery
        self._cache = cache
        self._is_waiting = False

    def run(self) -> ImageRecord:
        """Make the image that the job asks for; its record, READY."""
        self._require_possible()
        source = self._choose_source()
        with self._client_for(source) as client:
            image = self._resolve(client, source)
            with self._exclusively(image):
                if self._is_delivered(image):
                    size = self._deliver_metadata(image)
                else:
                    with self._staging(image) as staged:
                        self._convert(client, image, staged)
                        size = self._deliver(image, staged)
                return self._publish(image, size)

    def _require_possible(self) -> None:
        if self._record.format != "squashfs":
            raise PullError(f"cannot make images of format {self._record.format!r}: use 'squashfs'")
        self._delivery.require_usable()

    def _choose_source(self) -> Source:
        urls = {name: place.url for name, place in self._config.locations.items()}
        return location.choose(self._record.pull_tag, urls, self._config.default_location)

    def _client_for(self, source: Source) -> RegistryClient:
        place = self._config.locations[source.location]
        endpoint = Endpoint(place.url, place.ca_file, place.auth_method.value, source.location)
        return RegistryClient(
            endpoint,
            credentials_for(source.location, self._logins),
            on_retry=lambda sentence: self._lease.enter(PullState.PULLING, sentence),
        )

    def _resolve(self, client: RegistryClient, source: Source) -> ResolvedImage:
        self._lease.enter(PullState.PULLING, "Getting manifest")
        wanted = self._config.systems[self._record.system].platform
        platform = Platform.parse(wanted) if wanted else Platform.host()
        try:
            return client.resolve(RepositoryName.parse(source.name), platform)
        except ManifestNotFoundError as error:
            if not source.hint:
                raise
            raise PullError(f"{error}; {source.hint}") from error

    def _exclusively(self, image: ResolvedImage) -> contextlib.AbstractContextManager[None]:
        return lock.held(
            self._config.cache_directory / "locks",
            self._record.system,
            image_id_of(image),
            keep_waiting=self._wait,
        )

    def _wait(self) -> None:
        if not self._is_waiting:
            self._is_waiting = True
            self._lease.enter(PullState.PULLING, "Waiting for another pull of the same image")
        self._lease.require_held()

    def _is_delivered(self, image: ResolvedImage) -> bool:
        return self._delivery.is_delivered(image_id_of(image), self._record.format)

    def _deliver_metadata(self, image: ResolvedImage) -> int:
        self._lease.enter(PullState.TRANSFER, "Transferring metadata")
        self._lease.confirm()
        image_id = image_id_of(image)
        self._delivery.deliver_metadata(image_id, self._worker, self._metadata(image))
        return self._delivery.size(image_id, self._record.format)

    def _staging(self, image: ResolvedImage) -> contextlib.AbstractContextManager[Path]:
        return self._delivery.staging(image_id_of(image), self._record.format, self._worker)

    def _convert(self, client: RegistryClient, image: ResolvedImage, staged: Path) -> None:
        """Download, flatten and pack, all at the same time; nothing is unpacked to disk."""
        sizes = {layer.digest: layer.size for layer in image.layers}
        self._lease.expect_bytes(sum(sizes.values()))
        self._lease.enter(PullState.PULLING, "Pulling layers")
        with fetch_layers(
            client,
            self._cache,
            image.repository,
            image.layers,
            parallel=PARALLEL_DOWNLOADS,
            progress=self._lease.add_bytes,
        ) as fetches:

            def write_tar(out: BinaryIO) -> FlattenReport:
                return flatten(
                    self._paths_of(fetches.futures),
                    out,
                    progress=self._keep_going,
                )

            options = self._config.converter_options.get(self._record.format, ())
            report = squashfs.make(write_tar, staged, options)
        counts = " ".join(f"{name}={value}" for name, value in vars(report).items())
        log.info("layers flattened image=%s %s", image_id_of(image), counts)

    def _paths_of(self, futures: Sequence[Future[Path]]) -> list[Callable[[], Path]]:
        """What the flattener calls for each layer; the last to come turns the page."""

        def path_of(future: Future[Path]) -> Path:
            path = future.result()
            missing.discard(future)
            if not missing:
                self._lease.enter(PullState.CONVERSION, "Converting image")
            return path

        missing = set(futures)
        return [lambda future=future: path_of(future) for future in futures]  # type: ignore[misc]

    def _deliver(self, image: ResolvedImage, staged: Path) -> int:
        self._lease.enter(PullState.TRANSFER, "Transferring image")
        return self._delivery.deliver(
            staged,
            image_id_of(image),
            self._record.format,
            self._worker,
            self._metadata(image),
            confirm=self._lease.confirm,
        )

    def _publish(self, image: ResolvedImage, size: int) -> ImageRecord:
        now = time.time()
        config = image.config
        platform = config.platform or Platform.host()
        published = PublishedImage(
            image_id=image_id_of(image),
            format=self._record.format,
            architecture=platform.architecture,
            os=platform.os,
            private=image.used_credentials,
            env=config.env or None,
            entry=config.entrypoint,
            command=config.command,
            workdir=config.workdir,
            labels=config.labels or None,
            size=size,
            expiration=now + self._config.image_expiration.total_seconds(),
        )
        return self._catalog.publish(self._lease.claim, published, now)

    def _metadata(self, image: ResolvedImage) -> str:
        acl = self._acl(image)
        config = image.config
        return ImageMetadata(
            format=self._record.format,
            entry=_list_or_none(config.entrypoint),
            command=_list_or_none(config.command),
            workdir=config.workdir,
            env=list(config.env),
            user_acl=_list_or_none(acl.users),
            group_acl=_list_or_none(acl.groups),
        ).to_text()

    def _acl(self, image: ResolvedImage) -> Acl:
        """Who the runtime lets in: the same as the catalog does once the image is READY."""
        record = self._record
        existing = self._catalog.find_ready_id(
            record.system, image_id_of(image), record.format
        ) or self._catalog.find_ready(record.system, record.image_type, record.pull_tag)
        return acl_after_pull(record, private=image.used_credentials, existing=existing)

    def _keep_going(self, *_progress: int) -> None:
        self._lease.require_held()


def image_id_of(image: ResolvedImage) -> str:
    """An image is known by its content: the hexadecimal digits of its manifest's digest."""
    return image.digest.partition(":")[2]


def credentials_for(location: str, logins: Logins) -> Credentials | None:
    """What the user logged in with at a location, or else everywhere (`default`)."""
    login = logins.get(location) or logins.get("default")
    if not login:
        return None
    username, _, password = login.partition(":")
    return Credentials(username, password)


def _list_or_none(values: Sequence[T] | None) -> list[T] | None:
    return list(values) if values else None
