# SPDX-License-Identifier: BSD-3-Clause
"""OCI layouts made by hand, so that they can be wrong in any way."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import os
import tarfile
from pathlib import Path
from typing import Any

MANIFEST = "application/vnd.oci.image.manifest.v1+json"
INDEX = "application/vnd.oci.image.index.v1+json"
HERE = {"x86_64": "amd64", "aarch64": "arm64"}[os.uname().machine]
ELSEWHERE = {"amd64": "arm64", "arm64": "amd64"}[HERE]


class Layout:
    """A layout on disk, readable for all."""

    def __init__(self, path: Path) -> None:
        self.path = path
        (path / "blobs/sha256").mkdir(parents=True)
        self.write("oci-layout", {"imageLayoutVersion": "1.0.0"})

    def write(self, name: str, content: Any) -> None:
        data = content if isinstance(content, bytes) else json.dumps(content).encode()
        (self.path / name).write_bytes(data)

    def blob(self, content: Any, media_type: str, **more: Any) -> dict[str, Any]:
        data = content if isinstance(content, bytes) else json.dumps(content).encode()
        digest = hashlib.sha256(data).hexdigest()
        self.write(f"blobs/sha256/{digest}", data)
        descriptor = {"mediaType": media_type, "digest": f"sha256:{digest}", "size": len(data)}
        return descriptor | more

    def image(self, *layers: bytes, architecture: str = HERE, **config: Any) -> dict[str, Any]:
        """Add an image of gzip layers; its manifest's descriptor."""
        diff_ids = [f"sha256:{hashlib.sha256(gzip.decompress(x)).hexdigest()}" for x in layers]
        described = self.blob(
            {
                "architecture": architecture,
                "os": "linux",
                "config": config,
                "rootfs": {"type": "layers", "diff_ids": diff_ids},
            },
            "application/vnd.oci.image.config.v1+json",
        )
        manifest = {
            "schemaVersion": 2,
            "mediaType": MANIFEST,
            "config": described,
            "layers": [self.blob(x, "application/vnd.oci.image.layer.v1.tar+gzip") for x in layers],
        }
        platform = {"os": "linux", "architecture": architecture}
        return self.blob(manifest, MANIFEST, platform=platform)

    def index(self, *descriptors: dict[str, Any]) -> Layout:
        self.write("index.json", {"schemaVersion": 2, "manifests": list(descriptors)})
        return self

    def archive(self, path: Path) -> Path:
        with tarfile.open(path, "w") as archive:
            archive.add(self.path, "")
        return path


def docker_archive(path: Path, members: dict[str, bytes | tarfile.TarInfo]) -> Path:
    """An archive of these members, in this order; a TarInfo for what is no file."""
    with tarfile.open(path, "w") as archive:
        for name, content in members.items():
            if isinstance(content, tarfile.TarInfo):
                content.name = name
                archive.addfile(content)
                continue
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return path


def saved(layers: list[bytes], tags: tuple[str, ...] = (), **config: Any) -> dict[str, bytes]:
    """The members of what `docker save` writes for an image of plain tar layers."""
    diff_ids = [f"sha256:{hashlib.sha256(layer).hexdigest()}" for layer in layers]
    content = json.dumps(
        {
            "architecture": HERE,
            "os": "linux",
            "config": config,
            "rootfs": {"type": "layers", "diff_ids": diff_ids},
        }
    ).encode()
    name = f"{hashlib.sha256(content).hexdigest()}.json"
    names = [f"{diff_id[7:]}/layer.tar" for diff_id in diff_ids]
    entry = {"Config": name, "RepoTags": list(tags), "Layers": names}
    return {
        name: content,
        **dict(zip(names, layers, strict=True)),
        "manifest.json": json.dumps([entry]).encode(),
    }
