# SPDX-License-Identifier: BSD-3-Clause
"""Images that lie in a system's directory and that no record knows.

A lost or restored database leaves them, and so does whoever copies files there by hand.
"""

from __future__ import annotations

import contextlib
import functools
import os
import time
from collections.abc import Callable, Iterable
from datetime import timedelta

from shifter_imagegw.catalog import Catalog
from shifter_imagegw.delivery import Delivery, StoredImage
from shifter_imagegw.formats import FORMATS
from shifter_imagegw.process_names import worker_name
from shifter_imagegw.records import ImageRecord, PullState

# A pull that finds an image delivered already takes this long to say so.
_NOTICED_AFTER = 2.0  # seconds
_DELIVERED_WITHIN = 120.0  # seconds that the last steps of a pull take, with a good deal to spare
_LOOK_EVERY = 0.5  # seconds


class _KnownError(Exception):
    """A pull has made a record of the image just now."""


def find(
    catalog: Catalog, system: str, images: Iterable[StoredImage], older_than: timedelta
) -> list[StoredImage]:
    """Those of `images` that are that old and unknown, oldest first.

    The list of images must have been made before: a record that is made later then counts.
    """
    known = {record.image_id for record in _records(catalog, system)}
    found = [
        image
        for image in images
        if image.image_id not in known and image.age >= older_than.total_seconds()
    ]
    return sorted(found, key=lambda image: -image.age)


def remove(
    catalog: Catalog,
    system: str,
    delivery: Delivery,
    orphans: Iterable[StoredImage],
    wait: Callable[[float], None] = time.sleep,
) -> tuple[list[StoredImage], list[ImageRecord]]:
    """Remove images; those that went, and records that a pull made meanwhile of one of them.

    A pull may have found such an image just before it went, and take it for delivered. Its record
    is sent to expire, so that the next pull makes the image anew.
    """
    removed = []
    worker = worker_name(os.getpid()) or "orphans"
    for image in orphans:
        if _is_known(catalog, system, image):
            continue
        require_unknown = functools.partial(_require_unknown, catalog, system, image)
        with contextlib.suppress(_KnownError):
            delivery.remove(image.image_id, image.format, worker, require_unknown)
            removed.append(image)
    if not removed:
        return [], []
    _wait_for_deliveries(catalog, system, wait)
    gone = {image.image_id for image in removed}
    misled = [
        record
        for record in catalog.list_ready(system)
        if record.image_id in gone
        and not delivery.is_delivered(record.image_id or "", record.format)
    ]
    for record in misled:
        catalog.add_expire(record)
    return removed, misled


def _is_known(catalog: Catalog, system: str, image: StoredImage) -> bool:
    is_ready = any(catalog.find_ready_id(system, image.image_id, known) for known in FORMATS)
    return is_ready or any(
        record.image_id == image.image_id for record in catalog.list_queue(system)
    )


def _require_unknown(catalog: Catalog, system: str, image: StoredImage) -> None:
    if _is_known(catalog, system, image):
        raise _KnownError


def _records(catalog: Catalog, system: str) -> list[ImageRecord]:
    return [*catalog.list_ready(system), *catalog.list_queue(system)]


def _wait_for_deliveries(catalog: Catalog, system: str, wait: Callable[[float], None]) -> None:
    """Wait until each pull has ended that may have been delivering when this began."""
    wait(_NOTICED_AFTER)
    delivering = _delivering(catalog, system)
    waited = 0.0
    while delivering & _delivering(catalog, system) and waited < _DELIVERED_WITHIN:
        wait(_LOOK_EVERY)
        waited += _LOOK_EVERY


def _delivering(catalog: Catalog, system: str) -> set[str]:
    queue = catalog.list_queue(system)
    return {record.key for record in queue if record.state is PullState.TRANSFER}
