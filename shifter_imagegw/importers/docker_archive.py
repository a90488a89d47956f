# SPDX-License-Identifier: BSD-3-Clause
"""What `docker save` and `podman save` write: manifest.json, a config, and layers as tar files.

The image's id is the digest of its config, which names the layers by their content: Docker's own
image id, the same whenever and wherever the image is saved.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, BinaryIO, TypeGuard

from shifter_imagegw.errors import PullError
from shifter_imagegw.flatten import FlattenReport, flatten
from shifter_imagegw.importers.archive import Archive
from shifter_imagegw.importers.job import ImportJob
from shifter_imagegw.importers.small import read_small
from shifter_imagegw.importers.spool import unpacked
from shifter_imagegw.pulling.origin import SourceImage, StreamedOrigin
from shifter_imagegw.records import PullState
from shifter_imagegw.registry import ImageConfig
from shifter_imagegw.registry.document import load

MANIFEST = "manifest.json"

_LARGEST_MANIFEST = 4 << 20  # bytes
_LARGEST_CONFIG = 8 << 20
_OF_MANIFESTS = frozenset(("schemaVersion", "layers", "manifests", "fsLayers"))


@dataclasses.dataclass(frozen=True)
class SavedImage:
    """One image of the archive: names of members, and what it was called."""

    config: str
    layers: tuple[str, ...]
    tags: tuple[str, ...]


class DockerArchiveOrigin(StreamedOrigin):
    """The image that `archive` holds; where there are several, the one that is called so."""

    def __init__(self, archive: Archive, job: ImportJob) -> None:
        self._archive = archive
        self._job = job
        self._layers: list[tuple[str, str]] = []  # member and diff id, the lowest first

    def resolve(self) -> SourceImage:
        self._job.lease.enter(PullState.HASHING, "HASHING")
        shown = self._archive.shown
        manifest = read_small(self._archive, MANIFEST, _LARGEST_MANIFEST)
        image = choose(_images(manifest, shown), self._job.tag, shown)
        data = read_small(self._archive, image.config, _LARGEST_CONFIG)
        document = load(data, f"the config in {shown}")
        if not document.keys().isdisjoint(_OF_MANIFESTS):
            raise PullError(
                f"{shown} is refused: its config {image.config[:100]!r} is a manifest as well, so "
                "that its digest would stand for two images"
            )
        config = ImageConfig.from_document(document)
        if not image.layers or len(config.diff_ids) != len(image.layers):
            raise PullError(
                f"{shown} is broken: its image has {len(image.layers)} layers, its config"
                f" {len(config.diff_ids)}"
            )
        self._layers = list(zip(image.layers, config.diff_ids, strict=True))
        digest = hashlib.sha256(data).hexdigest()
        return SourceImage(
            image_id=digest, digest=f"sha256:{digest}", config=config, user=self._job.who.name
        )

    def write_tar(self, out: BinaryIO) -> FlattenReport:
        self._job.lease.enter(PullState.PULLING, "Extracting Layers")
        sizes = [self._archive.size(name) for name in {name for name, _ in self._layers}]
        self._job.limits.require_possible(sum(sizes))
        self._job.lease.expect_bytes(sum(sizes))
        copies = {layer: self._copied(*layer) for layer in dict.fromkeys(self._layers)}
        self._job.lease.enter(PullState.CONVERSION, "Converting image")
        return flatten(
            [lambda path=copies[layer]: path for layer in self._layers],  # type: ignore[misc]
            out,
            progress=lambda _: self._job.lease.require_held(),
            limits=self._job.limits,
        )

    def _copied(self, name: str, diff_id: str) -> Path:
        copy = self._job.spool.copy(self._archive.pieces(name), name)
        if copy.digest == diff_id:
            return copy.path
        digest = hashlib.sha256()
        for piece in unpacked(copy.path, self._job.limits, self._job.lease.require_held):
            digest.update(piece)
        if f"sha256:{digest.hexdigest()}" != diff_id:
            raise PullError(
                f"{self._archive.shown} is refused: its layer {name[:100]!r} is not the"
                f" {diff_id[:80]} that the image consists of"
            )
        return copy.path


def choose(images: Sequence[SavedImage], tag: str, shown: str) -> SavedImage:
    if len(images) == 1:
        return images[0]
    for image in images:
        if tag in image.tags:
            return image
    names = ", ".join(name for image in images for name in image.tags[:3])
    raise PullError(
        f"{shown} holds {len(images)} images ({names[:300] or 'without names'}): import it under"
        " the name of one of them, or save that one alone"
    )


def _images(data: bytes, shown: str) -> list[SavedImage]:
    try:
        entries = json.loads(data)
    except (ValueError, RecursionError):
        entries = None
    if not isinstance(entries, list) or not entries:
        raise PullError(f"{shown} is broken: its {MANIFEST} is no list of images")
    return [_image(entry, shown) for entry in entries]


def _image(entry: Any, shown: str) -> SavedImage:  # noqa: ANN401
    if isinstance(entry, dict):
        config, layers, tags = entry.get("Config"), entry.get("Layers"), entry.get("RepoTags")
        if isinstance(config, str) and _are_texts(layers):
            return SavedImage(config, tuple(layers), tuple(tags) if _are_texts(tags) else ())
    raise PullError(f"{shown} is broken: its {MANIFEST} does not name a config and layers")


def _are_texts(value: object) -> TypeGuard[list[str]]:
    return isinstance(value, list) and all(isinstance(item, str) for item in value)
