# SPDX-License-Identifier: BSD-3-Clause
"""The removal of an image from a system."""

from __future__ import annotations

from pathlib import Path

from shifter_imagegw.catalog import Catalog
from shifter_imagegw.delivery import Delivery, lock
from shifter_imagegw.lease import Lease


def run(lease: Lease, *, catalog: Catalog, delivery: Delivery, lock_directory: Path) -> None:
    """Remove the files of the image that the job names, unless a pull brings it back just now."""
    record = lease.claim.record
    image_id = record.image_id
    if image_id is None:
        catalog.finish_expire(lease.claim)
        return
    with lock.held(lock_directory, record.system, image_id, keep_waiting=lease.require_held):
        lease.confirm()
        delivery.remove(image_id, record.format)
        catalog.finish_expire(lease.claim)
