# SPDX-License-Identifier: BSD-3-Clause
"""Manifests and indexes, as Docker schema 2 and the OCI image specification write them."""

from __future__ import annotations

import dataclasses
from typing import Any

from shifter_imagegw.registry import media_types
from shifter_imagegw.registry.document import Document
from shifter_imagegw.registry.errors import (
    ManifestNotFoundError,
    RegistryError,
    UnsupportedMediaTypeError,
    cleaned,
)
from shifter_imagegw.registry.name import is_digest
from shifter_imagegw.registry.platforms import Platform

_MOST_LAYERS = 1024  # overlay filesystems stop at 500, Docker at 127
_LARGEST_BLOB = 1 << 50  # bytes; so that the sum of all layers is a number that databases hold
_ATTESTATION = "vnd.docker.reference.type"


@dataclasses.dataclass(frozen=True)
class Descriptor:
    """A blob or manifest by its content; `size` in bytes. `urls` say that it is kept elsewhere."""

    media_type: str
    digest: str
    size: int
    urls: tuple[str, ...] = ()

    @classmethod
    def from_document(cls, document: Any, what: str) -> Descriptor:  # noqa: ANN401
        """Raises RegistryError where `document` describes nothing; `what` names it."""
        if not isinstance(document, dict):
            raise RegistryError(f"{what} is broken: it is no JSON object")
        digest, size = document.get("digest"), document.get("size")
        if not isinstance(digest, str) or not is_digest(digest):
            raise RegistryError(
                f"{what} is broken: {cleaned(repr(digest), 100)} is no sha256 digest"
            )
        if not isinstance(size, int) or isinstance(size, bool) or not 0 <= size <= _LARGEST_BLOB:
            raise RegistryError(f"{what} is broken: {cleaned(repr(size), 40)} is no size")
        urls = document.get("urls")
        return cls(
            media_type=text_or_empty(document.get("mediaType")),
            digest=digest,
            size=size,
            urls=tuple(str(url) for url in urls) if isinstance(urls, list) else (),
        )


@dataclasses.dataclass(frozen=True)
class Manifest:
    """One image: its config and its layers, the lowest first."""

    media_type: str
    config: Descriptor
    layers: tuple[Descriptor, ...]

    @classmethod
    def from_document(cls, document: Document, media_type: str, what: str) -> Manifest:
        """Read what `kind_of` found to be a manifest; refuse what no image can be made of."""
        layers = document.get("layers")
        if not isinstance(layers, list) or not layers:
            raise UnsupportedMediaTypeError(f"{what} is no container image: it has no layers")
        if len(layers) > _MOST_LAYERS:
            raise RegistryError(
                f"{what} has {len(layers)} layers, at most {_MOST_LAYERS} are supported"
            )
        config = Descriptor.from_document(document.get("config"), f"the config of {what}")
        if config.media_type and config.media_type not in media_types.CONFIGS:
            raise UnsupportedMediaTypeError(
                f"{what} is no container image but a {cleaned(config.media_type, 100)}"
            )
        descriptors = tuple(
            Descriptor.from_document(layer, f"layer {number} of {what}")
            for number, layer in enumerate(layers, start=1)
        )
        for descriptor in descriptors:
            _require_layer(descriptor, what)
        return cls(media_type, config, descriptors)


@dataclasses.dataclass(frozen=True)
class IndexEntry:
    """A manifest, or another index, for one platform (None: it does not say)."""

    descriptor: Descriptor
    platform: Platform | None


@dataclasses.dataclass(frozen=True)
class Index:
    """Images of one name for several platforms."""

    media_type: str
    entries: tuple[IndexEntry, ...]

    @classmethod
    def from_document(cls, document: Document, media_type: str, what: str) -> Index:
        """Read what `kind_of` found to be an index; what is no image is left out."""
        manifests = document.get("manifests")
        if not isinstance(manifests, list):
            raise RegistryError(f"{what} is broken: its manifests are no list")
        entries = []
        for number, manifest in enumerate(manifests, start=1):
            descriptor = Descriptor.from_document(manifest, f"entry {number} of {what}")
            if not _is_image(descriptor, manifest):
                continue
            entries.append(IndexEntry(descriptor, _platform(manifest.get("platform"))))
        return cls(media_type, tuple(entries))

    def choose(self, platform: Platform, what: str) -> Descriptor:
        """The entry that suits `platform` best, of equals the first.

        Entries that do not say their platform count only where no other suits.
        """
        best: tuple[tuple[int, int], Descriptor] | None = None
        for entry in self.entries:
            score = platform.suitability(entry.platform) if entry.platform else None
            if score is not None and (best is None or score > best[0]):
                best = (score, entry.descriptor)
        if best is not None:
            return best[1]
        silent = [entry.descriptor for entry in self.entries if entry.platform is None]
        if silent:
            return silent[0]
        available = ", ".join(dict.fromkeys(str(entry.platform) for entry in self.entries))
        raise ManifestNotFoundError(
            f"{what} has no image for {platform}: there is {cleaned(available) or 'none at all'}"
        )


def kind_of(document: Document, content_type: str, what: str) -> str:
    """The media type of a document, on which its header, its field and its shape must agree.

    Were the field or the shape followed where they contradict each other, one digest would mean
    different images to different readers (CVE-2021-41190).
    """
    stated = text_or_empty(document.get("mediaType"))
    known = media_types.MANIFESTS | media_types.INDEXES | media_types.SCHEMA1
    if "manifests" in document and ("layers" in document or "config" in document):
        raise RegistryError(f"{what} is refused: it is an index and a manifest at once")
    if "fsLayers" in document and ("layers" in document or "manifests" in document):
        raise RegistryError(f"{what} is refused: it is of schema 1 and of schema 2 at once")
    if stated and content_type in known and stated != content_type:
        raise RegistryError(
            f"{what} is refused: it says to be {cleaned(stated, 100)}, "
            f"but was sent as {content_type}"
        )
    kind = content_type if content_type in known else stated or _kind_by_shape(document)
    if kind not in known:
        raise UnsupportedMediaTypeError(
            f"{what} is no container image but {cleaned(kind or content_type, 100) or 'unknown'}"
        )
    _require_shape(document, kind, what)
    return kind


def text_or_empty(value: Any) -> str:  # noqa: ANN401
    """`value` where it is text, else ""."""
    return value if isinstance(value, str) else ""


def _kind_by_shape(document: Document) -> str:
    if document.get("schemaVersion") == 1:
        return media_types.DOCKER_SIGNED_SCHEMA1
    if "manifests" in document:
        return media_types.OCI_INDEX
    if "layers" in document:
        return media_types.OCI_MANIFEST
    return ""


def _require_shape(document: Document, kind: str, what: str) -> None:
    if kind in media_types.SCHEMA1:
        fits, version = "fsLayers" in document, 1
    elif kind in media_types.INDEXES:
        fits, version = "manifests" in document, 2
    else:
        fits, version = "config" in document, 2
    if not fits or document.get("schemaVersion") != version:
        raise RegistryError(f"{what} is refused: it is no {kind}, though it says so")


def _require_layer(descriptor: Descriptor, what: str) -> None:
    if descriptor.urls:
        raise UnsupportedMediaTypeError(
            f"{what} cannot be had from its registry: layer {descriptor.digest} is a foreign layer "
            "that is kept elsewhere; push a copy with all its layers to a registry"
        )
    if media_types.is_encrypted(descriptor.media_type):
        raise UnsupportedMediaTypeError(f"{what} is encrypted: layer {descriptor.digest}")
    if descriptor.media_type not in media_types.LAYERS:
        raise UnsupportedMediaTypeError(
            f"{what} is no container image: it holds a "
            f"{cleaned(descriptor.media_type, 100) or 'layer without a media type'}"
        )


def _is_image(descriptor: Descriptor, entry: Document) -> bool:
    annotations = entry.get("annotations")
    if isinstance(annotations, dict) and _ATTESTATION in annotations:
        return False
    platform = entry.get("platform")
    if isinstance(platform, dict) and platform.get("os") == "unknown":
        return False
    return descriptor.media_type in media_types.MANIFESTS | media_types.INDEXES


def _platform(document: Any) -> Platform | None:  # noqa: ANN401
    if not isinstance(document, dict):
        return None
    os_name = text_or_empty(document.get("os"))
    architecture = text_or_empty(document.get("architecture"))
    if not os_name or not architecture:
        return None
    return Platform.of(os_name, architecture, text_or_empty(document.get("variant")) or None)
