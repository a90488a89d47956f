# SPDX-License-Identifier: BSD-3-Clause
"""What the files in an image directory are called.

An image is `<id>.<format>`, what is known of it `<id>.meta`. What is being written has a hidden
name that ends in the worker's own, because the owner of what a crash left behind must be known.
"""

from __future__ import annotations

import re

from shifter_common.reference import is_image_id
from shifter_imagegw.errors import DeliveryError

_FORMAT = re.compile(r"[A-Za-z0-9]+")
_WORKER = re.compile(r"[A-Za-z0-9_.:@-]+")
_PARTIAL = re.compile(r"\.[0-9a-f]{64}\.[A-Za-z0-9]+\.(?P<worker>.+)\.partial")
_IMAGE = re.compile(r"(?P<id>[0-9a-f]{64})\.(?P<format>[A-Za-z0-9]+)")


def final(image_id: str, suffix: str) -> str:
    """The name of an image, or with the suffix `meta` of what is known of it."""
    if not is_image_id(image_id) or not _FORMAT.fullmatch(suffix):
        raise DeliveryError(f"no image can be called {f'{image_id}.{suffix}'!r}")
    return f"{image_id}.{suffix}"


def partial(image_id: str, suffix: str, worker: str) -> str:
    """The hidden name under which `worker` writes it."""
    if not _WORKER.fullmatch(worker):
        raise DeliveryError(f"no worker can be called {worker!r}")
    return f".{final(image_id, suffix)}.{worker}.partial"


def worker_of(name: str) -> str | None:
    """Who writes the file of this name; None where it is no partial file."""
    match = _PARTIAL.fullmatch(name)
    return None if match is None else match["worker"]


def is_of(image_id: str, name: str) -> bool:
    """Whether the partial file of this name is one of this image."""
    return name.startswith(f".{image_id}.")


def image_of(name: str) -> tuple[str, str] | None:
    """The id and the format (or `meta`) of the file of this name; None where it is neither."""
    match = _IMAGE.fullmatch(name)
    return None if match is None else (match["id"], match["format"])
