# SPDX-License-Identifier: BSD-3-Clause
"""The removal of an image from a system."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from shifter_common.tag_index import IMAGE_TYPES
from shifter_imagegw.catalog import Catalog
from shifter_imagegw.delivery import Delivery, tag_index
from shifter_imagegw.errors import LeaseLostError
from shifter_imagegw.pulling.lease import Lease
from shifter_imagegw.records import ImageRecord


def run(lease: Lease, *, catalog: Catalog, delivery: Delivery) -> None:
    """Remove the files of the image that the job names, unless a pull brings it back just now."""
    record, worker = lease.claim.record, lease.claim.worker
    image_id = record.image_id
    if image_id is not None:
        lease.hold(image_id)
        delivery.shut_out_others(image_id, worker)
        lease.confirm()  # whoever has published the image meanwhile has ended this job
        with _forgotten(record, image_id, catalog, delivery):
            delivery.remove(image_id, record.format, worker, lease.confirm)
            lease.insist(lambda: catalog.finish_expire(lease.claim))
    else:
        lease.insist(lambda: catalog.finish_expire(lease.claim))


@contextlib.contextmanager
def _forgotten(
    record: ImageRecord, image_id: str, catalog: Catalog, delivery: Delivery
) -> Iterator[None]:
    """Have no name mean the image that the body removes, but those that the catalog knows."""
    # A record does not say of which type each of its tags is.
    names = [
        (image_type, tag)
        for tag in record.tags
        for image_type in IMAGE_TYPES
        if tag_index.is_possible(image_type, tag)
    ]
    for image_type, tag in names:
        delivery.unindex(image_type, tag, image_id)
    try:
        yield
    except LeaseLostError:
        for image_type, tag in names:
            tag_index.settle(record.system, catalog, delivery, image_type, tag, image_id)
        raise
