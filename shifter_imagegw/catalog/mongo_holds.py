# SPDX-License-Identifier: BSD-3-Clause
"""Who has an image for a job alone, kept by a unique index of MongoDB."""

from __future__ import annotations

from typing import Any

from pymongo.collection import Collection
from pymongo.errors import DuplicateKeyError

from shifter_imagegw.catalog import mongo_publishing as publishing
from shifter_imagegw.catalog.mongo_documents import NOBODYS
from shifter_imagegw.catalog.mongo_publishing import lease_lost, owned
from shifter_imagegw.errors import LeaseLostError
from shifter_imagegw.records import Claim, PullState

Document = dict[str, Any]
Images = Collection[Document]


def hold(images: Images, claim: Claim, image_id: str, now: float) -> bool:
    while True:
        try:
            changed = images.update_one(owned(claim), {"$set": {"holds": image_id}})
        except DuplicateKeyError:
            if not _end_hold(images, claim, image_id, now):
                return False
            continue
        if not changed.matched_count:
            raise lease_lost(claim)
        _require_not_ready_again(images, claim)
        return True


def _end_hold(images: Images, claim: Claim, image_id: str, now: float) -> bool:
    """End the job that holds an image if its lease has run out; False while it has not.

    Only with the hold would it go on, and change the image at the same time as its successor.
    """
    holder = images.find_one({"system": claim.record.system, "holds": image_id})
    if holder is None:
        return True
    if holder["lease_end"] > now:
        return False
    names = ("_id", "token", "lease_end", "holds")
    images.update_one({name: holder[name] for name in names}, {"$unset": NOBODYS})
    return True


def _require_not_ready_again(images: Images, claim: Claim) -> None:
    """End a removal that whoever published the image did not live to end."""
    record = claim.record
    if record.state is not PullState.EXPIRING or record.image_id is None:
        return
    content = publishing.ready_content(record.system, record.image_id, record.format)
    if images.find_one(content, {"_id": True}) is not None:
        images.delete_one(owned(claim))
        raise LeaseLostError(
            f"{record.image_type}:{record.pull_tag} is READY again on {record.system}: not removed"
        )
