# SPDX-License-Identifier: BSD-3-Clause
"""The image that every contender pulls: planned layers, written as tar and gzip, in a registry."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
import platform
import tarfile
import zlib
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import IO, Any, cast

from benchmarks import donors as donated
from benchmarks import layers as planned
from benchmarks.donors import Donors, Source
from benchmarks.layers import Content, Entry, Kind
from benchmarks.registry import Registry

MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"
CONFIG = "application/vnd.docker.container.image.v1+json"
LAYER = "application/vnd.docker.image.rootfs.diff.tar.gzip"

REPOSITORY = "science/python"
REVISION = 3  # of what is made; another one is not reused
CREATED = "2024-01-01T00:00:00Z"
MODIFIED = 1_704_067_200  # the same moment, seconds since the epoch
GZIP = 16 + zlib.MAX_WBITS  # zlib's way to ask for a gzip header; its time stamp is zero
GZIP_LEVEL = 6  # what docker build and docker push use
BUFFER = 1 << 20

ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64"}
TAR_TYPES = {
    Kind.DIRECTORY: tarfile.DIRTYPE,
    Kind.FILE: tarfile.REGTYPE,
    Kind.SYMLINK: tarfile.SYMTYPE,
    Kind.HARD_LINK: tarfile.LNKTYPE,
}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Layer:
    """A written layer; sizes in bytes."""

    digest: str
    size: int
    diff_id: str
    unpacked_size: int
    entries: int


@dataclasses.dataclass(frozen=True, kw_only=True)
class Image:
    """An image in the benchmark's registry."""

    repository: str
    registry_tag: str
    digest: str
    layers: tuple[Layer, ...]
    visible_entries: int
    visible_bytes: int

    @property
    def facts(self) -> dict[str, str | int | float]:
        megabyte = 1_000_000
        return {
            "image": f"{self.repository}:{self.registry_tag}",
            "visible entries": self.visible_entries,
            "visible MB": round(self.visible_bytes / megabyte, 1),
            "layers": len(self.layers),
            "entries in layers": sum(layer.entries for layer in self.layers),
            "MB in layers": round(sum(layer.unpacked_size for layer in self.layers) / megabyte, 1),
            "MB to download": round(sum(layer.size for layer in self.layers) / megabyte, 1),
        }

    @classmethod
    def from_mapping(cls, saved: dict[str, Any]) -> Image:
        layers = tuple(Layer(**layer) for layer in saved.pop("layers"))
        return cls(layers=layers, **saved)


def in_registry(registry: Registry, scale: float, work: Path) -> Image:
    """The image of that scale, made now unless an earlier run left it in the registry."""
    note = work / f"image-{REVISION}-{scale:g}.json"
    if note.exists():
        return Image.from_mapping(json.loads(note.read_text()))
    image = make(registry, scale, work / "layers")
    note.write_text(json.dumps(dataclasses.asdict(image)))
    return image


def make(registry: Registry, scale: float, directory: Path, donors: Donors | None = None) -> Image:
    """Write the layers below `directory`, and push them with their manifest."""
    plan = planned.plan(scale)
    layers = write(plan, directory, donors or donated.find())
    for layer in layers:
        registry.push_blob(REPOSITORY, layer.digest, _file(directory, layer))
        _file(directory, layer).unlink()
    config = config_of(layers)
    config_file = directory / "config.json"
    config_file.write_bytes(config)
    registry.push_blob(REPOSITORY, digest_of(config), config_file)
    config_file.unlink()
    tag = f"scale-{scale:g}"
    manifest = manifest_of(config, layers)
    registry.push_manifest(REPOSITORY, tag, MANIFEST, manifest)
    tree = planned.visible(plan)
    return Image(
        repository=REPOSITORY,
        registry_tag=tag,
        digest=digest_of(manifest),
        layers=tuple(layers),
        visible_entries=len(tree),
        visible_bytes=sum({id(entry): entry.size for entry in tree.values()}.values()),
    )


def write(plan: Sequence[Sequence[Entry]], directory: Path, donors: Donors) -> list[Layer]:
    """Write each layer to `<directory>/<hex of its digest>`; a thread for each processor."""
    directory.mkdir(parents=True, exist_ok=True)

    def write_one(index: int) -> Layer:
        sources = {content: Source(paths, index / len(plan)) for content, paths in donors.items()}
        return _write_layer(plan[index], directory, sources)

    with ThreadPoolExecutor(os.cpu_count()) as threads:
        return list(threads.map(write_one, range(len(plan))))


def config_of(layers: Sequence[Layer]) -> bytes:
    """The image's config, with as much in it as a real one has."""
    python = "/opt/env/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
    return _json(
        {
            "architecture": ARCHITECTURES.get(platform.machine(), platform.machine()),
            "os": "linux",
            "created": CREATED,
            "config": {
                "Env": [f"PATH={python}", "LANG=C.UTF-8", "OMP_NUM_THREADS=1"],
                "Cmd": ["python3"],
                "WorkingDir": "/opt/application",
                "Labels": {"org.opencontainers.image.title": "benchmark"},
            },
            "rootfs": {"type": "layers", "diff_ids": [layer.diff_id for layer in layers]},
            "history": [{"created": CREATED, "created_by": "RUN build"} for _ in layers],
        }
    )


def manifest_of(config: bytes, layers: Sequence[Layer]) -> bytes:
    """A docker image manifest, version 2, schema 2."""
    return _json(
        {
            "schemaVersion": 2,
            "mediaType": MANIFEST,
            "config": {"mediaType": CONFIG, "size": len(config), "digest": digest_of(config)},
            "layers": [
                {"mediaType": LAYER, "size": layer.size, "digest": layer.digest} for layer in layers
            ],
        }
    )


def digest_of(content: bytes) -> str:
    return f"sha256:{hashlib.sha256(content).hexdigest()}"


class _LayerFile:
    """Takes a tar stream and keeps it compressed, hashing both sides."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self._gzip = zlib.compressobj(GZIP_LEVEL, zlib.DEFLATED, GZIP)
        self._waiting = bytearray()
        self.compressed, self.plain = hashlib.sha256(), hashlib.sha256()
        self.size = self.plain_size = 0

    def tell(self) -> int:
        return self.plain_size + len(self._waiting)

    def write(self, data: bytes) -> int:
        self._waiting += data
        # Hashing and compressing long pieces lets the other threads go on.
        if len(self._waiting) >= BUFFER:
            self.flush_waiting()
        return len(data)

    def flush_waiting(self) -> None:
        piece, self._waiting = bytes(self._waiting), bytearray()
        self.plain.update(piece)
        self.plain_size += len(piece)
        self._keep(self._gzip.compress(piece))

    def finish(self) -> None:
        self.flush_waiting()
        self._keep(self._gzip.flush())

    def _keep(self, compressed: bytes) -> None:
        self.compressed.update(compressed)
        self.size += len(compressed)
        self._file.write(compressed)


def _write_layer(
    entries: Sequence[Entry], directory: Path, sources: dict[Content, Source]
) -> Layer:
    partial = directory / f"partial-{id(entries):x}"
    with partial.open("wb") as file:
        output = _LayerFile(file)
        with tarfile.open(
            fileobj=cast("IO[bytes]", output), mode="w", format=tarfile.PAX_FORMAT
        ) as tar:
            for entry in entries:
                tar.addfile(_header(entry), cast("IO[bytes]", sources[entry.content]))
        output.finish()
    layer = Layer(
        digest=f"sha256:{output.compressed.hexdigest()}",
        size=output.size,
        diff_id=f"sha256:{output.plain.hexdigest()}",
        unpacked_size=output.plain_size,
        entries=len(entries),
    )
    partial.rename(_file(directory, layer))
    return layer


def _header(entry: Entry) -> tarfile.TarInfo:
    header = tarfile.TarInfo(entry.path)
    header.type = TAR_TYPES[entry.kind]
    header.mode = 0o777 if entry.kind is Kind.SYMLINK else entry.mode
    header.size = entry.size
    header.linkname = entry.target
    header.mtime = MODIFIED
    header.uname = header.gname = "root"
    return header


def _file(directory: Path, layer: Layer) -> Path:
    return directory / layer.digest.removeprefix("sha256:")


def _json(value: dict[str, Any]) -> bytes:
    return json.dumps(value, separators=(",", ":")).encode()
