# SPDX-License-Identifier: BSD-3-Clause
"""The removal of an image from a system."""

from __future__ import annotations

from shifter_imagegw.catalog import Catalog
from shifter_imagegw.delivery import Delivery
from shifter_imagegw.lease import Lease


def run(lease: Lease, *, catalog: Catalog, delivery: Delivery) -> None:
    """Remove the files of the image that the job names, unless a pull brings it back just now."""
    record = lease.claim.record
    image_id = record.image_id
    if image_id is not None:
        lease.hold(image_id)
        lease.confirm()  # whoever has published the image meanwhile has ended this job
        for tag in record.tags:
            delivery.unindex(record.image_type, tag, image_id)
        delivery.remove(image_id, record.format)
    lease.insist(lambda: catalog.finish_expire(lease.claim))
