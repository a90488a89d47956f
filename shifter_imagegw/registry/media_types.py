# SPDX-License-Identifier: BSD-3-Clause
"""The media types of the Docker and OCI formats, and what each of them is."""

from __future__ import annotations

DOCKER_MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"
DOCKER_INDEX = "application/vnd.docker.distribution.manifest.list.v2+json"
DOCKER_SIGNED_SCHEMA1 = "application/vnd.docker.distribution.manifest.v1+prettyjws"
DOCKER_SCHEMA1 = "application/vnd.docker.distribution.manifest.v1+json"
OCI_MANIFEST = "application/vnd.oci.image.manifest.v1+json"
OCI_INDEX = "application/vnd.oci.image.index.v1+json"

MANIFESTS = frozenset({DOCKER_MANIFEST, OCI_MANIFEST})
INDEXES = frozenset({DOCKER_INDEX, OCI_INDEX})
SCHEMA1 = frozenset({DOCKER_SIGNED_SCHEMA1, DOCKER_SCHEMA1})

# What a request for a manifest accepts, best first; schema 1 only where there is nothing else.
ACCEPTED = (
    OCI_INDEX,
    DOCKER_INDEX,
    OCI_MANIFEST,
    DOCKER_MANIFEST,
    DOCKER_SIGNED_SCHEMA1,
    DOCKER_SCHEMA1,
)

CONFIGS = frozenset(
    {
        "application/vnd.docker.container.image.v1+json",
        "application/vnd.oci.image.config.v1+json",
        # Docker 1.10 pushed configs under this one to Docker Hub; they are still there.
        "application/octet-stream",
    }
)

LAYERS = frozenset(
    {
        "application/vnd.docker.image.rootfs.diff.tar",
        "application/vnd.docker.image.rootfs.diff.tar.gzip",
        "application/vnd.docker.image.rootfs.diff.tar.zstd",
        "application/vnd.docker.image.rootfs.foreign.diff.tar",
        "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip",
        "application/vnd.oci.image.layer.v1.tar",
        "application/vnd.oci.image.layer.v1.tar+gzip",
        "application/vnd.oci.image.layer.v1.tar+zstd",
        "application/vnd.oci.image.layer.nondistributable.v1.tar",
        "application/vnd.oci.image.layer.nondistributable.v1.tar+gzip",
        "application/vnd.oci.image.layer.nondistributable.v1.tar+zstd",
    }
)


def of_header(content_type: str | None) -> str:
    """The media type in a Content-Type header, without its parameters; "" where there is none."""
    return (content_type or "").partition(";")[0].strip().lower()


def is_encrypted(media_type: str) -> bool:
    return media_type.endswith("+encrypted")
