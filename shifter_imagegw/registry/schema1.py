# SPDX-License-Identifier: BSD-3-Clause
"""Docker's first manifest format, which old registries and old images still have.

The JWS signature proves nothing (its key is in the document), so it is not checked; the digest is
over the signed payload, not over the bytes that are sent.
"""

from __future__ import annotations

import base64
import binascii
import dataclasses
import json
from typing import Any

from shifter_imagegw.registry.document import Document, load
from shifter_imagegw.registry.errors import RegistryError
from shifter_imagegw.registry.image_config import ImageConfig
from shifter_imagegw.registry.name import is_digest

# The gzipped empty tar that Docker put in for each build step without a layer.
EMPTY_LAYER = "sha256:a3ed95caeb02ffe68cdd9fd84406680ae93d633cb16422d00e8a7c22955b46d4"
LAYER = "application/vnd.docker.image.rootfs.diff.tar.gzip"


@dataclasses.dataclass(frozen=True)
class Schema1Manifest:
    """Digests of the layers, the lowest first, without empty ones; sizes are not known."""

    layer_digests: tuple[str, ...]
    config: ImageConfig

    @classmethod
    def from_document(cls, document: Document, what: str) -> Schema1Manifest:
        layers, history = document.get("fsLayers"), document.get("history")
        if not isinstance(layers, list) or not isinstance(history, list) or not layers:
            raise RegistryError(f"{what} is broken: it has no layers or no history")
        if len(layers) != len(history):
            raise RegistryError(
                f"{what} is broken: it has {len(layers)} layers but {len(history)} histories"
            )
        steps = [_history(entry, what) for entry in history]
        digests = [_digest(layer, what) for layer in layers]
        return cls(
            layer_digests=tuple(
                digest
                for digest, step in zip(reversed(digests), reversed(steps), strict=True)
                if digest != EMPTY_LAYER and step.get("throwaway") is not True
            ),
            config=ImageConfig.from_document(steps[0]),
        )


def payload(data: bytes, document: Document, what: str) -> bytes:
    """The bytes that the digest is over: `data` without its signatures."""
    signatures = document.get("signatures")
    if not signatures:
        return data
    try:
        protected = json.loads(_base64url(signatures[0]["protected"]))
        length, tail = protected["formatLength"], _base64url(protected["formatTail"])
        if not isinstance(length, int) or not 0 < length <= len(data):
            raise ValueError("formatLength is out of range")
    except (ValueError, KeyError, TypeError, IndexError, binascii.Error, RecursionError):
        raise RegistryError(f"{what} is broken: its signature cannot be read") from None
    signed = data[:length] + tail
    # Signed and read must be one document, or one digest would mean two images.
    if load(signed, what) != {key: document[key] for key in document if key != "signatures"}:
        raise RegistryError(f"{what} is refused: it is not the document that was signed")
    return signed


def _base64url(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


def _digest(layer: Any, what: str) -> str:  # noqa: ANN401
    digest = layer.get("blobSum") if isinstance(layer, dict) else None
    if not isinstance(digest, str) or not is_digest(digest):
        raise RegistryError(f"{what} is broken: a layer has no sha256 digest")
    return digest


def _history(entry: Any, what: str) -> Document:  # noqa: ANN401
    text = entry.get("v1Compatibility") if isinstance(entry, dict) else None
    if not isinstance(text, str):
        raise RegistryError(f"{what} is broken: a history entry has no v1Compatibility")
    return load(text.encode("utf-8", "surrogatepass"), f"the history of {what}")
