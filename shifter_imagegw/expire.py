# SPDX-License-Identifier: BSD-3-Clause
"""The removal of an image from a system."""

from __future__ import annotations

from shifter_common.tag_index import IMAGE_TYPES
from shifter_imagegw.catalog import Catalog
from shifter_imagegw.delivery import Delivery, tag_index
from shifter_imagegw.errors import LeaseLostError
from shifter_imagegw.lease import Lease


def run(lease: Lease, *, catalog: Catalog, delivery: Delivery) -> None:
    """Remove the files of the image that the job names, unless a pull brings it back just now."""
    record, worker = lease.claim.record, lease.claim.worker
    image_id = record.image_id
    # A record does not say of which type each of its tags is.
    names = [(image_type, tag) for tag in record.tags for image_type in IMAGE_TYPES]
    if image_id is not None:
        lease.hold(image_id)
        delivery.shut_out_others(image_id, worker)
        lease.confirm()  # whoever has published the image meanwhile has ended this job
        delivery.remove(image_id, record.format, worker, lease.confirm)
        for image_type, tag in names:
            delivery.unindex(image_type, tag, image_id)
    try:
        lease.insist(lambda: catalog.finish_expire(lease.claim))
    except LeaseLostError:
        for image_type, tag in names:
            if image_id is not None and tag_index.is_possible(image_type, tag):
                tag_index.settle(record.system, catalog, delivery, image_type, tag, image_id)
        raise
