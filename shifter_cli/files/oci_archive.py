# SPDX-License-Identifier: BSD-3-Clause
"""An image as an OCI archive of one layer, which podman, skopeo and docker can load."""

from __future__ import annotations

import hashlib
import io
import json
import tarfile
import tempfile
from collections.abc import Callable, Iterable
from typing import IO, Any

from isal import isal_zlib

from shifter_cli.inspection import Inspection

_CONFIG = "application/vnd.oci.image.config.v1+json"
_MANIFEST = "application/vnd.oci.image.manifest.v1+json"
_INDEX = "application/vnd.oci.image.index.v1+json"
_LAYER = "application/vnd.oci.image.layer.v1.tar+gzip"
_REF_NAME = "org.opencontainers.image.ref.name"
_GZIP = 31  # isal's window bits for zlib's gzip form, whose time stamp is 0
_COPY = 1 << 20


def write(
    tar: Iterable[bytes],
    seen: Inspection,
    out: IO[bytes],
    *,
    folder: str | None,
    watch: Callable[[int], None] = lambda done: None,
) -> None:
    """Make an archive of the content of an image and of what is known of it.

    The layer lies in `folder` until its size and digest are known. `watch` is told how many bytes
    of the content are in it. The same image gives the same archive.
    """
    with tempfile.TemporaryFile(dir=folder) as layer:
        diff_id = _write_layer(tar, layer, watch)
        with tarfile.open(fileobj=out, mode="w|", format=tarfile.PAX_FORMAT) as archive:
            _add(archive, "oci-layout", _json({"imageLayoutVersion": "1.0.0"}))
            layer_descriptor = _add_file(archive, layer, _LAYER)
            config = _add_blob(archive, _json(_config(seen, diff_id)), _CONFIG)
            manifest = {
                "schemaVersion": 2,
                "mediaType": _MANIFEST,
                "config": config,
                "layers": [layer_descriptor],
            }
            described = _add_blob(archive, _json(manifest), _MANIFEST)
            name = {_REF_NAME: seen.reference.with_default_tag().tag}
            index = {
                "schemaVersion": 2,
                "mediaType": _INDEX,
                "manifests": [described | {"annotations": name}],
            }
            _add(archive, "index.json", _json(index))


def _write_layer(tar: Iterable[bytes], layer: IO[bytes], watch: Callable[[int], None]) -> str:
    content, compressor, done = hashlib.sha256(), isal_zlib.compressobj(1, wbits=_GZIP), 0
    for piece in tar:
        content.update(piece)
        layer.write(compressor.compress(piece))
        done += len(piece)
        watch(done)
    layer.write(compressor.flush())
    return f"sha256:{content.hexdigest()}"


def _config(seen: Inspection, diff_id: str) -> dict[str, Any]:
    """What the image's own config says, of one layer; steps of its build are kept as words."""
    start = {
        "Env": seen.texts("ENV"),
        "Entrypoint": seen.texts("ENTRY"),
        "Cmd": seen.texts("CMD"),
        "WorkingDir": seen.text("WORKDIR"),
        "User": seen.text("user"),
        "Labels": dict(seen.record.labels),
    }
    steps = [
        {key: row[key] for key in ("created", "created_by", "comment") if row.get(key)}
        | {"empty_layer": True}
        for row in seen.rows("history")
    ]
    created = {"created": seen.text("created")} if seen.text("created") else {}
    author = {"author": seen.text("author")} if seen.text("author") else {}
    architecture, _, variant = (seen.text("arch") or "amd64").partition("/")
    return {
        **created,
        **author,
        "architecture": architecture,
        **({"variant": variant} if variant else {}),
        "os": seen.text("os") or "linux",
        "config": {name: value for name, value in start.items() if value},
        "rootfs": {"type": "layers", "diff_ids": [diff_id]},
        "history": [*steps, {**created, "created_by": f"shifterimg export {seen.reference}"}],
    }


def _add_blob(archive: tarfile.TarFile, content: bytes, media_type: str) -> dict[str, Any]:
    return _add_file(archive, io.BytesIO(content), media_type)


def _add_file(archive: tarfile.TarFile, file: IO[bytes], media_type: str) -> dict[str, Any]:
    file.seek(0)
    content = hashlib.sha256()
    while piece := file.read(_COPY):
        content.update(piece)
    size = file.tell()
    file.seek(0)
    archive.addfile(_member(f"blobs/sha256/{content.hexdigest()}", size), file)
    digest = f"sha256:{content.hexdigest()}"
    return {"mediaType": media_type, "digest": digest, "size": size}


def _add(archive: tarfile.TarFile, name: str, content: bytes) -> None:
    archive.addfile(_member(name, len(content)), io.BytesIO(content))


def _member(name: str, size: int) -> tarfile.TarInfo:
    member = tarfile.TarInfo(name)
    member.size = size
    return member


def _json(value: object) -> bytes:
    return json.dumps(value, separators=(",", ":"), sort_keys=True).encode()
