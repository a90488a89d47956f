# SPDX-License-Identifier: BSD-3-Clause
"""An OCI image layout, a directory or the tar archive of one: index.json and blobs by digest.

As from a registry, the image's id is the digest of its manifest, so that an image has one id
whichever way it comes.
"""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, BinaryIO

from shifter_imagegw.errors import PullError
from shifter_imagegw.flatten import FlattenReport, flatten
from shifter_imagegw.importers.job import ImportJob
from shifter_imagegw.importers.small import Folder, read_small
from shifter_imagegw.pulling.origin import SourceImage, StreamedOrigin
from shifter_imagegw.records import PullState
from shifter_imagegw.registry import Descriptor, ImageConfig, media_types
from shifter_imagegw.registry.document import Document, load
from shifter_imagegw.registry.manifest import Index, Manifest, kind_of

LAYOUT = "oci-layout"
INDEX = "index.json"

_LARGEST_MANIFEST = 4 << 20  # bytes
_LARGEST_CONFIG = 8 << 20
_DEEPEST_INDEX = 3  # index.json, and as a registry may nest them
_NAME = "org.opencontainers.image.ref.name"


class OciLayoutOrigin(StreamedOrigin):
    """The image in `folder` for the system's platform; of several names, the one that fits."""

    def __init__(self, folder: Folder, job: ImportJob) -> None:
        self._folder = folder
        self._job = job
        self._layers: tuple[Descriptor, ...] = ()

    def resolve(self) -> SourceImage:
        self._job.lease.enter(PullState.HASHING, "HASHING")
        shown = self._folder.shown
        layout = load(read_small(self._folder, LAYOUT, _LARGEST_MANIFEST), f"{LAYOUT} in {shown}")
        if not str(layout.get("imageLayoutVersion", "")).startswith("1."):
            raise PullError(f"{shown} is no OCI image layout of version 1: {LAYOUT} says otherwise")
        descriptor, content = self._manifest()
        manifest = Manifest.from_document(content, descriptor.media_type, shown)
        config = ImageConfig.from_document(
            load(self._blob(manifest.config, _LARGEST_CONFIG), f"the config in {shown}")
        )
        if config.diff_ids and len(config.diff_ids) != len(manifest.layers):
            raise PullError(
                f"{shown} is broken: its manifest has {len(manifest.layers)} layers, its config"
                f" {len(config.diff_ids)}"
            )
        self._layers = manifest.layers
        return SourceImage(
            image_id=descriptor.digest.partition(":")[2],
            digest=descriptor.digest,
            config=config,
            user=self._job.who.name,
        )

    def write_tar(self, out: BinaryIO) -> FlattenReport:
        self._job.lease.enter(PullState.PULLING, "Extracting Layers")
        total = sum({layer.digest: layer.size for layer in self._layers}.values())
        self._job.limits.require_possible(total)
        self._job.lease.expect_bytes(total)
        copies = {layer: self._copied(layer) for layer in dict.fromkeys(self._layers)}
        self._job.lease.enter(PullState.CONVERSION, "Converting image")
        return flatten(
            [functools.partial(copies.__getitem__, layer) for layer in self._layers],
            out,
            progress=lambda _: self._job.lease.require_held(),
            limits=self._job.limits,
        )

    def _manifest(self) -> tuple[Descriptor, Document]:
        """The manifest that the indexes lead to, from index.json on; each but that by digest."""
        shown = self._folder.shown
        content = load(read_small(self._folder, INDEX, _LARGEST_MANIFEST), f"{INDEX} in {shown}")
        kind = kind_of(content, media_types.OCI_INDEX, f"{INDEX} in {shown}")
        index = Index.from_document(self._named(content), kind, shown)
        for _ in range(_DEEPEST_INDEX):
            chosen = index.choose(self._job.platform, shown)
            content = load(self._blob(chosen, _LARGEST_MANIFEST), f"a manifest in {shown}")
            kind = kind_of(content, chosen.media_type, f"a manifest in {shown}")
            if kind not in media_types.INDEXES:
                return chosen, content
            index = Index.from_document(content, kind, shown)
        raise PullError(f"{shown} is refused: its indexes are nested too deep")

    def _named(self, content: Document) -> Document:
        """Of several names in index.json, only what carries the one that is asked for."""
        entries = content.get("manifests")
        if not isinstance(entries, list):
            return content
        names = {name: None for entry in entries if (name := _name_of(entry))}
        if len(names) < 2:
            return content
        wanted = {self._job.tag, self._job.tag.rpartition(":")[2]}
        chosen = [entry for entry in entries if _name_of(entry) in wanted]
        if not chosen:
            raise PullError(
                f"{self._folder.shown} holds {len(names)} images"
                f" ({', '.join(names)[:300]}): import it under the name of one of them"
            )
        return {**content, "manifests": chosen}

    def _blob(self, descriptor: Descriptor, limit: int) -> bytes:
        data = read_small(self._folder, _path_of(descriptor), limit)
        self._require(descriptor, f"sha256:{hashlib.sha256(data).hexdigest()}")
        return data

    def _copied(self, layer: Descriptor) -> Path:
        name = _path_of(layer)
        copy = self._job.spool.copy(self._folder.pieces(name), layer.digest)
        self._require(layer, copy.digest)
        return copy.path

    def _require(self, descriptor: Descriptor, digest: str) -> None:
        if descriptor.digest != digest:
            raise PullError(
                f"{self._folder.shown} is refused: its blob {descriptor.digest} has the content of"
                f" {digest}"
            )


def _path_of(descriptor: Descriptor) -> str:
    return f"blobs/{descriptor.digest.replace(':', '/')}"  # hexadecimal digits, see `Descriptor`


def _name_of(entry: Any) -> str | None:  # noqa: ANN401
    annotations = entry.get("annotations") if isinstance(entry, Mapping) else None
    name = annotations.get(_NAME) if isinstance(annotations, Mapping) else None
    return name if isinstance(name, str) else None
