# SPDX-License-Identifier: BSD-3-Clause
"""A client for OCI and Docker registries: names, manifests, blobs. It knows nothing of Shifter."""

from shifter_imagegw.registry.auth import LoginWatch
from shifter_imagegw.registry.blobs import BlobCache
from shifter_imagegw.registry.client import RegistryClient, ResolvedImage
from shifter_imagegw.registry.endpoint import Credentials, Endpoint
from shifter_imagegw.registry.errors import (
    CredentialsNotSentError,
    DigestMismatchError,
    FetchCancelledError,
    InvalidNameError,
    ManifestNotFoundError,
    RegistryError,
    RegistryNotPermittedError,
    UnsupportedMediaTypeError,
)
from shifter_imagegw.registry.fetching import LayerFetches, fetch_layers
from shifter_imagegw.registry.image_config import ImageConfig
from shifter_imagegw.registry.login import check_login
from shifter_imagegw.registry.manifest import Descriptor
from shifter_imagegw.registry.name import RepositoryName
from shifter_imagegw.registry.platforms import Platform
from shifter_imagegw.registry.tags import TagPage, list_tags

__all__ = [
    "BlobCache",
    "Credentials",
    "CredentialsNotSentError",
    "Descriptor",
    "DigestMismatchError",
    "Endpoint",
    "FetchCancelledError",
    "ImageConfig",
    "InvalidNameError",
    "LayerFetches",
    "LoginWatch",
    "ManifestNotFoundError",
    "Platform",
    "RegistryClient",
    "RegistryError",
    "RegistryNotPermittedError",
    "RepositoryName",
    "ResolvedImage",
    "TagPage",
    "UnsupportedMediaTypeError",
    "check_login",
    "fetch_layers",
    "list_tags",
]
