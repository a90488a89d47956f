# SPDX-License-Identifier: BSD-3-Clause
"""Images of registries: a manifest names layers, which are fetched side by side and flattened."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future
from pathlib import Path
from typing import BinaryIO

from shifter_imagegw.config import GatewayConfig
from shifter_imagegw.details import Layer
from shifter_imagegw.errors import PullError
from shifter_imagegw.flatten import FlattenReport, Limits, flatten
from shifter_imagegw.pulling import location
from shifter_imagegw.pulling.lease import Lease
from shifter_imagegw.pulling.location import Source
from shifter_imagegw.pulling.origin import SourceImage, StreamedOrigin
from shifter_imagegw.records import ImageRecord, PullState
from shifter_imagegw.registry import (
    BlobCache,
    Credentials,
    Endpoint,
    LoginWatch,
    ManifestNotFoundError,
    Platform,
    RegistryClient,
    RepositoryName,
    ResolvedImage,
    fetch_layers,
)

PARALLEL_DOWNLOADS = 4

Logins = Mapping[str, str]  # `user:password` by location; `default` is for all others


class RegistryOrigin(StreamedOrigin):
    """The image that a docker tag means on its location."""

    def __init__(
        self,
        client: RegistryClient,
        source: Source,
        platform: Platform,
        *,
        cache: BlobCache,
        limits: Limits,
        lease: Lease,
        until_done: contextlib.ExitStack,
    ) -> None:
        self._client = client
        self._source = source
        self._platform = platform
        self._cache = cache
        self._limits = limits
        self._lease = lease
        self._until_done = until_done
        self._image: ResolvedImage | None = None

    def resolve(self) -> SourceImage:
        self._lease.enter(PullState.PULLING, "Getting manifest")
        try:
            image = self._client.resolve(RepositoryName.parse(self._source.name), self._platform)
        except ManifestNotFoundError as error:
            if not self._source.hint:
                raise
            raise PullError(f"{error}; {self._source.hint}") from error
        self._image = image
        return SourceImage(
            # An image is known by its content: the digits of its manifest's digest.
            image_id=image.digest.partition(":")[2],
            digest=image.digest,
            config=image.config,
            private=image.used_credentials,
            is_private_known=not image.was_limited,
            layers=tuple(
                Layer(layer.digest, layer.size, layer.media_type) for layer in image.layers
            ),
        )

    def require_readable(self) -> None:
        assert self._image is not None  # resolve() comes first
        for digest in dict.fromkeys(layer.digest for layer in self._image.layers):
            self._lease.require_held()
            self._client.require_blob(self._image.repository, digest)

    def write_tar(self, out: BinaryIO) -> FlattenReport:
        """Download and flatten, both at the same time; nothing is unpacked to disk."""
        assert self._image is not None  # resolve() comes first
        sizes = {layer.digest: layer.size for layer in self._image.layers}
        self._limits.require_possible(sum(sizes.values()))
        self._lease.expect_layers(sizes)
        self._lease.enter(PullState.PULLING, "Pulling layers")
        # Not only while this writes: what it began may have to be written once more.
        fetches = self._until_done.enter_context(
            fetch_layers(
                self._client,
                self._cache,
                self._image.repository,
                self._image.layers,
                parallel=PARALLEL_DOWNLOADS,
                progress=self._lease.add_bytes_of,
            )
        )
        return flatten(
            self._paths_of(fetches.futures),
            out,
            progress=lambda _: self._lease.require_held(),
            limits=self._limits,
        )

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


@contextlib.contextmanager
def opened(
    record: ImageRecord,
    logins: Logins,
    *,
    config: GatewayConfig,
    cache: BlobCache,
    lease: Lease,
    watch: LoginWatch | None,
) -> Iterator[RegistryOrigin]:
    """The origin of a pull; its connections and downloads end with the body."""
    urls = {name: place.url for name, place in config.locations.items()}
    source = location.choose(record.pull_tag, urls, config.default_location)
    place = config.locations[source.location]
    endpoint = Endpoint(place.url, place.ca_file, place.auth_method.value, source.location)
    client = RegistryClient(
        endpoint,
        credentials_for(source.location, logins),
        on_retry=lambda sentence: lease.enter(PullState.PULLING, sentence),
        watch=watch,
    )
    with client, contextlib.ExitStack() as until_done:
        yield RegistryOrigin(
            client,
            source,
            platform_of(record.system, config),
            cache=cache,
            limits=flatten_limits(config),
            lease=lease,
            until_done=until_done,
        )


def platform_of(system: str, config: GatewayConfig) -> Platform:
    """What programs of a system's images run on."""
    wanted = config.systems[system].platform
    return Platform.parse(wanted) if wanted else Platform.host()


def flatten_limits(config: GatewayConfig) -> Limits:
    return Limits(
        entries=config.limits.image_entries,
        bytes=config.limits.image_bytes,
        entries_setting="MaxEntries",
        bytes_setting="MaxImageSize",
    )


def credentials_for(location: str, logins: Logins) -> Credentials | None:
    """What the user logged in with at a location, or else everywhere (`default`)."""
    login = logins.get(location) or logins.get("default")
    if not login:
        return None
    username, _, password = login.partition(":")
    return Credentials(username, password)
