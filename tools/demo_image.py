# SPDX-License-Identifier: BSD-3-Clause
"""Make the demonstration image of quickstart, and push it to a registry.

The image has three layers: a real distribution's root tree, as mmdebstrap packed it; a small
application, with a hard link and a symlink; and a clean-up, which is whiteouts only. The same tree
gives the same bytes each time. Needs nothing but Python.
"""

from __future__ import annotations

import argparse
import gzip
import hashlib
import http.client
import io
import json
import sys
import tarfile
import urllib.parse
from pathlib import Path
from typing import NamedTuple

GREETING = """#!/bin/sh
. /etc/os-release
echo "hello from $PRETTY_NAME, to $(id -un)"
"""
MANIFEST = "application/vnd.oci.image.manifest.v1+json"
CONFIG = "application/vnd.oci.image.config.v1+json"
LAYER = "application/vnd.oci.image.layer.v1.tar"


class Layer(NamedTuple):
    """One layer as it is stored, and the sha256 of the tar file in it (its diff id)."""

    media_type: str
    data: bytes
    diff_id: str


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("tree", type=Path, help="tar file of the root tree")
    parser.add_argument("registry", help="host:port, by plain http")
    parser.add_argument("name", help="repository:tag")
    parser.add_argument("--architecture", required=True, help="in OCI's spelling")
    arguments = parser.parse_args()
    repository, _, tag = arguments.name.partition(":")
    registry = Registry(arguments.registry, repository)
    try:
        push(registry, tag, layers_on(arguments.tree), arguments.architecture)
    except OSError as error:
        sys.exit(f"cannot push {arguments.name} to {arguments.registry}: {error}")


def layers_on(tree: Path) -> list[Layer]:
    return [
        _compressed(tree.read_bytes()),
        _compressed(_tar_of(_application())),
        _plain(_tar_of(_clean_up())),
    ]


def _application() -> list[tuple[tarfile.TarInfo, bytes]]:
    hello = tarfile.TarInfo("usr/local/bin/hello")
    hello.mode = 0o755
    hello.size = len(GREETING)
    hard_link = tarfile.TarInfo("usr/local/bin/bonjour")
    hard_link.type, hard_link.linkname, hard_link.mode = tarfile.LNKTYPE, hello.name, 0o755
    symlink = tarfile.TarInfo("usr/local/bin/hallo")
    symlink.type, symlink.linkname, symlink.mode = tarfile.SYMTYPE, "hello", 0o777
    return [(hello, GREETING.encode()), (hard_link, b""), (symlink, b"")]


def _clean_up() -> list[tuple[tarfile.TarInfo, bytes]]:
    """Whiteouts: one file goes, and everything in one directory."""
    return [
        (tarfile.TarInfo("etc/.wh.debian_version"), b""),
        (tarfile.TarInfo("var/log/.wh..wh..opq"), b""),
    ]


def _tar_of(members: list[tuple[tarfile.TarInfo, bytes]]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for member, content in members:
            archive.addfile(member, io.BytesIO(content))
    return buffer.getvalue()


def _compressed(tar: bytes) -> Layer:
    return Layer(LAYER + "+gzip", gzip.compress(tar, compresslevel=1, mtime=0), _digest(tar))


def _plain(tar: bytes) -> Layer:
    return Layer(LAYER, tar, _digest(tar))


def _digest(data: bytes) -> str:
    return "sha256:" + hashlib.sha256(data).hexdigest()


def push(registry: Registry, tag: str, layers: list[Layer], architecture: str) -> None:
    config = json.dumps(
        {
            "architecture": architecture,
            "os": "linux",
            "config": {
                "Env": ["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"],
                "Entrypoint": ["/usr/local/bin/hello"],
                "WorkingDir": "/",
            },
            "rootfs": {"type": "layers", "diff_ids": [layer.diff_id for layer in layers]},
        }
    ).encode()
    for blob in (*(layer.data for layer in layers), config):
        registry.put_blob(blob)
    manifest = {
        "schemaVersion": 2,
        "mediaType": MANIFEST,
        "config": _descriptor(CONFIG, config),
        "layers": [_descriptor(layer.media_type, layer.data) for layer in layers],
    }
    registry.put_manifest(tag, json.dumps(manifest).encode())


def _descriptor(media_type: str, data: bytes) -> dict[str, object]:
    return {"mediaType": media_type, "digest": _digest(data), "size": len(data)}


class Registry:
    """One repository of a registry that takes pushes from anybody."""

    def __init__(self, host: str, repository: str) -> None:
        self.connection = http.client.HTTPConnection(host, timeout=60)
        self.repository = repository

    def put_blob(self, data: bytes) -> None:
        digest = _digest(data)
        path = f"/v2/{self.repository}/blobs/"
        if self._request("HEAD", path + digest).status == 200:
            return
        place = self._request("POST", path + "uploads/", expected=202).headers["Location"]
        parts = urllib.parse.urlsplit(place)
        target = f"{parts.path}?{parts.query}&digest={urllib.parse.quote(digest)}"
        self._request("PUT", target, data, "application/octet-stream", expected=201)

    def put_manifest(self, tag: str, data: bytes) -> None:
        path = f"/v2/{self.repository}/manifests/{tag}"
        self._request("PUT", path, data, MANIFEST, expected=201)

    def _request(
        self,
        method: str,
        path: str,
        data: bytes = b"",
        media_type: str = "",
        expected: int | None = None,
    ) -> http.client.HTTPResponse:
        headers = {"Content-Type": media_type} if media_type else {}
        self.connection.request(method, path, data, headers)
        response = self.connection.getresponse()
        answer = response.read()
        if expected is not None and response.status != expected:
            raise OSError(f"{method} {path} gave {response.status}: {answer.decode()[:300]}")
        return response


if __name__ == "__main__":
    main()
