# SPDX-License-Identifier: BSD-3-Clause
"""Reads images from one registry: which manifest a name means, and the blobs it consists of."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import hashlib
import threading
import time
from collections.abc import Callable, Iterator
from typing import Self
from urllib.parse import urljoin

from shifter_imagegw.registry import document, media_types, schema1
from shifter_imagegw.registry.auth import (
    Authorization,
    Authorizer,
    LoginWatch,
    Stage,
    parse_challenges,
)
from shifter_imagegw.registry.endpoint import Credentials, Endpoint, Origin
from shifter_imagegw.registry.errors import (
    DigestMismatchError,
    ManifestNotFoundError,
    RegistryError,
    RegistryNotPermittedError,
    cleaned,
)
from shifter_imagegw.registry.image_config import ImageConfig
from shifter_imagegw.registry.manifest import Descriptor, Index, Manifest, kind_of
from shifter_imagegw.registry.name import RepositoryName, is_digest, repository_at
from shifter_imagegw.registry.platforms import Platform
from shifter_imagegw.registry.retry import Attempts, RetryPolicy
from shifter_imagegw.registry.status import status_error
from shifter_imagegw.registry.transport import Answer, Timeout, Transport, shown

_LARGEST_MANIFEST = 4 << 20  # bytes, as other clients and registries limit it
_LARGEST_CONFIG = 8 << 20
_DEEPEST_INDEX = 2  # an index in an index
_MOST_REDIRECTS = 5
_ABSENT = {
    "manifests": "check the name and the tag",
    "tags": "check the name",
    "blobs": "the registry has lost a part of the image, push it again",
}
_REDIRECTS = frozenset({301, 302, 303, 307, 308})


@dataclasses.dataclass(frozen=True, kw_only=True)
class ResolvedImage:
    """What a name means for one platform: a manifest, all of it verified.

    `digest` is that of the image manifest finally chosen, never of an index. `repository` is as
    the registry knows it. Layers are in their order, the lowest first. `used_credentials` says
    that the image could not be read without: it is private; or, with `was_limited`, that others
    had asked too often, so that nobody knows.
    """

    repository: str
    digest: str
    media_type: str
    config: ImageConfig
    layers: tuple[Descriptor, ...]
    used_credentials: bool
    was_limited: bool = False


@dataclasses.dataclass(frozen=True)
class _Fetched:
    """A manifest of any kind, whose digest is right."""

    data: bytes
    content: document.Document
    media_type: str
    digest: str


class RegistryClient:
    """A connection to one registry as one user; safe to use from many threads.

    `timeout` is seconds to connect and between two packets. `on_retry` gets a sentence for the
    person who waits, whenever a request is tried again. `watch` is told of credentials that are
    shown and refused. `sleep` is for tests.
    """

    def __init__(
        self,
        endpoint: Endpoint,
        credentials: Credentials | None = None,
        *,
        timeout: Timeout = (10, 60),
        attempts: int = 5,
        on_retry: Callable[[str], None] | None = None,
        watch: LoginWatch | None = None,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self.endpoint = endpoint
        self._retry = RetryPolicy(attempts=attempts, sleep=sleep, on_retry=on_retry)
        self._transport = Transport(endpoint, timeout)
        self._authorizer = Authorizer(endpoint, credentials, self._transport.get, watch=watch)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        self._transport.close()

    def attempts(self, stop: threading.Event | None = None) -> Attempts:
        """The tries of one operation on this registry."""
        return self._retry.start(stop)

    def resolve(self, name: RepositoryName, platform: Platform) -> ResolvedImage:
        """Find the image that `name` means for `platform`, and read its config."""
        name = name.at(self.endpoint)
        what = self._describe(name)
        fetched = self._manifest(name, name.wanted, what)
        for _ in range(_DEEPEST_INDEX):
            if fetched.media_type not in media_types.INDEXES:
                break
            index = Index.from_document(fetched.content, fetched.media_type, what)
            fetched = self._chosen(name, index.choose(platform, what), what)
        if fetched.media_type in media_types.INDEXES:
            raise RegistryError(
                f"{what} is refused: its indexes are nested deeper than {_DEEPEST_INDEX}"
            )
        if fetched.media_type in media_types.SCHEMA1:
            return self._resolved_schema1(name.repository, fetched, what)
        manifest = Manifest.from_document(fetched.content, fetched.media_type, what)
        return self._resolved(name.repository, fetched, manifest, what)

    @contextlib.contextmanager
    def open_blob(self, repository: str, digest: str, *, start: int = 0) -> Iterator[Answer]:
        """The answer that carries a blob, from byte `start` on: status 206, or 200 for all of it.

        One try; raises RegistryError for any other status.
        """
        repository = repository_at(self.endpoint, repository)
        headers = {"Range": f"bytes={start}-"} if start else {}
        what = f"blob {digest} of {self.endpoint.label}/{repository}"
        with self.get(repository, f"blobs/{digest}", headers, what, bound=True) as answer:
            yield answer

    def require_blob(
        self, repository: str, digest: str, stop: threading.Event | None = None
    ) -> None:
        """Have the registry say that we may read a blob of this repository, which we have.

        A registry may take a manifest without the layers that it names: who knows their digests
        must not get from us what the registry has not shown them.
        """
        repository = repository_at(self.endpoint, repository)
        what = f"blob {digest} of {self.endpoint.label}/{repository}"

        def ask() -> None:
            first_byte = {"Range": "bytes=0-0"}
            with self.get(repository, f"blobs/{digest}", first_byte, what, bound=True) as answer:
                if answer.status == 206:
                    answer.read_some(1)  # so that the connection can be used again

        self.attempts(stop).run(ask)

    def _resolved(
        self, repository: str, fetched: _Fetched, manifest: Manifest, what: str
    ) -> ResolvedImage:
        config = ImageConfig.from_document(
            document.load(
                self._small_blob(repository, manifest.config, what), f"the config of {what}"
            )
        )
        if config.diff_ids and len(config.diff_ids) != len(manifest.layers):
            raise RegistryError(
                f"{what} is broken: its manifest has {len(manifest.layers)} layers, its config "
                f"{len(config.diff_ids)}"
            )
        return ResolvedImage(
            repository=repository,
            digest=fetched.digest,
            media_type=fetched.media_type,
            config=config,
            layers=manifest.layers,
            used_credentials=self._authorizer.stage(repository) is Stage.CREDENTIALS,
            was_limited=self._authorizer.is_limited(repository),
        )

    def _resolved_schema1(self, repository: str, fetched: _Fetched, what: str) -> ResolvedImage:
        manifest = schema1.Schema1Manifest.from_document(fetched.content, what)
        sizes = {
            digest: self.attempts().run(functools.partial(self._size, repository, digest))
            for digest in dict.fromkeys(manifest.layer_digests)
        }
        return ResolvedImage(
            repository=repository,
            digest=fetched.digest,
            media_type=fetched.media_type,
            config=manifest.config,
            layers=tuple(
                Descriptor(schema1.LAYER, digest, sizes[digest])
                for digest in manifest.layer_digests
            ),
            used_credentials=self._authorizer.stage(repository) is Stage.CREDENTIALS,
            was_limited=self._authorizer.is_limited(repository),
        )

    def _manifest(self, name: RepositoryName, wanted: str, what: str) -> _Fetched:
        return self.attempts().run(lambda: self._get_manifest(name.repository, wanted, what))

    def _chosen(self, name: RepositoryName, chosen: Descriptor, what: str) -> _Fetched:
        fetched = self._manifest(name, chosen.digest, what)
        if len(fetched.data) != chosen.size or fetched.media_type != chosen.media_type:
            raise DigestMismatchError(
                f"{what} is refused: its index describes {chosen.digest} as "
                f"{chosen.media_type} of {chosen.size} bytes, the registry sent "
                f"{fetched.media_type} of {len(fetched.data)}"
            )
        return fetched

    def _get_manifest(self, repository: str, wanted: str, what: str) -> _Fetched:
        headers = {"Accept": ", ".join(media_types.ACCEPTED)}
        by_digest = is_digest(wanted)
        with self.get(repository, f"manifests/{wanted}", headers, what, bound=by_digest) as answer:
            _require_plain(answer, f"the manifest of {what}")
            data = answer.read_all(_LARGEST_MANIFEST, f"the manifest of {what}")
            content_type = media_types.of_header(answer.headers.get("Content-Type"))
            stated = answer.headers.get("Docker-Content-Digest")
        content = document.load(data, f"the manifest of {what}")
        kind = kind_of(content, content_type, what)
        signed = schema1.payload(data, content, what) if kind in media_types.SCHEMA1 else data
        digest = f"sha256:{hashlib.sha256(signed).hexdigest()}"
        _require_digest(wanted if by_digest else stated, digest, signed, what)
        return _Fetched(data, content, kind, digest)

    def _small_blob(self, repository: str, descriptor: Descriptor, what: str) -> bytes:
        named = f"the config of {what}"

        def read() -> bytes:
            with self.open_blob(repository, descriptor.digest) as answer:
                return answer.read_all(_LARGEST_CONFIG, named)

        if descriptor.size > _LARGEST_CONFIG:
            raise RegistryError(
                f"{named} is refused: it is larger than {_LARGEST_CONFIG >> 20} MiB"
            )
        data = self.attempts().run(read)
        digest = f"sha256:{hashlib.sha256(data).hexdigest()}"
        _require_digest(descriptor.digest, digest, data, named)
        return data

    def _size(self, repository: str, digest: str) -> int:
        """Bytes of a blob that no manifest tells.

        Not by HEAD: links that registries redirect to are often signed for GET alone.
        """
        with self.open_blob(repository, digest) as answer:
            size = answer.length()
        if size is None:
            raise RegistryError(f"{self.endpoint.label} does not tell the size of blob {digest}")
        return size

    @contextlib.contextmanager
    def get(
        self,
        repository: str,
        path: str,
        headers: dict[str, str],
        what: str,
        *,
        bound: bool,
    ) -> Iterator[Answer]:
        """A successful answer, after as many refusals as it takes to find out what to show.

        `bound` says that a digest protects what comes.
        """
        url = self.endpoint.api(f"{repository}/{path}")
        authorization = self._authorizer.current(repository)
        while True:
            with self._follow(url, headers, authorization, what, bound) as answer:
                if answer.status in (200, 206):
                    self._authorizer.accept(repository, authorization)
                    yield answer
                    return
                refusal = self._refusal(answer, what, path.partition("/")[0])
            next_one = self._after_refusal(repository, authorization, answer)
            if next_one is None:
                raise refusal
            authorization = next_one

    def _after_refusal(
        self, repository: str, refused: Authorization, answer: Answer
    ) -> Authorization | None:
        """What to show next, None when nothing is left; then the next request begins anew."""
        # What another host says after a redirect is no question to us: it would be answered there
        # with credentials that are meant for the endpoint.
        if answer.status not in (401, 403, 404, 429) or answer.origin != self.endpoint.origin:
            return None
        challenges = parse_challenges(answer.header_lines("WWW-Authenticate"))
        try:
            next_one = self._authorizer.after_refusal(
                repository, refused, answer.status, challenges
            )
        except RegistryNotPermittedError:
            self._authorizer.forget(repository)
            # Some registries say 404 for what one may not see; others mean it. If credentials
            # do not help, it is simply not there; or, for 429, there is nothing but to wait.
            if answer.status in (404, 429):
                return None
            raise
        if next_one is None and answer.status != 429:
            self._authorizer.forget(repository)
        return next_one

    def _follow(
        self,
        url: str,
        headers: dict[str, str],
        authorization: Authorization,
        what: str,
        bound: bool,
    ) -> Answer:
        """The answer at the end of redirects; only the endpoint itself sees the authorization."""
        origin = self.endpoint.origin
        for _ in range(_MOST_REDIRECTS + 1):
            sent = dict(headers)
            if authorization.header and origin == self.endpoint.origin:
                sent["Authorization"] = authorization.header
            answer = self._transport.get(url, sent)
            location = answer.headers.get("Location")
            if answer.status not in _REDIRECTS or not location:
                return answer
            answer.close()
            url, origin = self._redirected(url, location)
            if (origin.scheme, self.endpoint.origin.scheme) == ("http", "https") and not bound:
                raise RegistryError(
                    f"{what} is refused: registry {self.endpoint.label} redirects from https to "
                    "plain http, and no digest protects it"
                )
        raise RegistryError(
            f"{what} cannot be had: registry {self.endpoint.label} redirects more than "
            f"{_MOST_REDIRECTS} times"
        )

    def _redirected(self, url: str, location: str) -> tuple[str, Origin]:
        try:
            target = urljoin(url, location)
            return target, Origin.of(target)
        except ValueError:
            raise RegistryError(
                f"registry {self.endpoint.label} redirects to {shown(location)}, which is no http "
                "or https address"
            ) from None

    def _refusal(self, answer: Answer, what: str, kind: str) -> RegistryError:
        if answer.origin != self.endpoint.origin:
            failure = f"{what} cannot be had from {answer.origin}, where the registry keeps it"
            return status_error(answer, failure, "try again later")
        if answer.status in (401, 403):
            hint = self._authorizer.hint()
            return status_error(
                answer, f"no permission to read {what}", hint, RegistryNotPermittedError
            )
        if answer.status == 404:
            return status_error(answer, f"there is no {what}", _ABSENT[kind], ManifestNotFoundError)
        advice = "the registry failed" + (", try again later" if answer.status >= 500 else "")
        return status_error(answer, f"{what} cannot be had", advice)

    def _describe(self, name: RepositoryName) -> str:
        return f"{self.endpoint.label}/{name}"


def _require_plain(answer: Answer, what: str) -> None:
    """Nothing is unpacked that is not wanted packed: a few bytes may become gigabytes."""
    encoding = answer.headers.get("Content-Encoding", "identity").strip().lower()
    if encoding not in ("", "identity"):
        raise RegistryError(
            f"{what} is refused: {answer.origin} sent it as {cleaned(encoding, 40)}, which it was "
            "not asked for"
        )


def _require_digest(stated: str | None, digest: str, data: bytes, what: str) -> None:
    """Compare with what was asked for, or with what the registry itself says to have sent."""
    if stated is None:
        return
    algorithm, _, wanted = stated.strip().partition(":")
    if algorithm == "sha512":
        digest = f"sha512:{hashlib.sha512(data).hexdigest()}"
    if f"{algorithm}:{wanted}" != digest:
        raise DigestMismatchError(
            f"{what} is refused: the registry sent {digest} in place of {cleaned(stated, 150)}"
        )
