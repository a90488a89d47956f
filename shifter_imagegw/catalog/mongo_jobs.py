# SPDX-License-Identifier: BSD-3-Clause
"""What users do to jobs, jobs that change lists, and what is kept beside records, in MongoDB."""

from __future__ import annotations

import dataclasses
from typing import Any

from pymongo.collection import Collection
from pymongo.errors import DuplicateKeyError

from shifter_imagegw.acl import acl_of
from shifter_imagegw.catalog.mongo_documents import (
    ENDED,
    IN_FLIGHT_STATUSES,
    JOB_STATUSES,
    NOBODYS,
    acl_fields,
    id_of,
    record_of,
    removal,
)
from shifter_imagegw.catalog.mongo_publishing import READY, lease_lost, owned
from shifter_imagegw.details import ImageDetails
from shifter_imagegw.errors import PullError
from shifter_imagegw.records import Claim, ImageRecord, PublishedImage, PullState

Document = dict[str, Any]
Images = Collection[Document]
Details = Collection[Document]

_FAILURE = PullState.FAILURE.value
_EXPIRING = PullState.EXPIRING.value


def cancel(images: Images, record: ImageRecord, reason: str, now: float) -> bool:
    in_flight = {"_id": id_of(record.key), "status": {"$in": IN_FLIGHT_STATUSES}}
    failed = {"status": _FAILURE, "status_message": reason, "last_pull": now}
    if images.update_one(in_flight, {"$set": failed, "$unset": ENDED}).matched_count:
        return True
    not_begun = {"_id": id_of(record.key), "status": _EXPIRING, "token": None, "attempts": 0}
    ready = {"status": READY, "status_message": "Image ready"}
    try:
        return images.update_one(not_begun, {"$set": ready}).matched_count > 0
    except DuplicateKeyError:
        return False  # a pull has made the image READY again: this record goes


def requeue(
    images: Images, record: ImageRecord, sealed_credentials: str | None, now: float
) -> bool:
    job = {"_id": id_of(record.key), "status": {"$in": JOB_STATUSES}}
    if images.update_one(job, {"$set": {"attempts": 0}, "$unset": NOBODYS}).matched_count:
        return True
    failed = {"_id": id_of(record.key), "status": _FAILURE}
    if record.image_id is not None:
        return images.update_one(failed, {"$set": removal(now)}).matched_count > 0
    pending: Document = {
        "status": PullState.PENDING.value,
        "attempts": 0,
        "since": now,
        "last_pull": now,
        "in_flight": True,
    }
    if sealed_credentials:
        pending |= {"sealed_credentials": sealed_credentials, "private": True}
    try:
        return (
            images.update_one(
                failed | {"id": None},
                {"$set": pending, "$unset": {"told": "", "status_message": ""}},
            ).matched_count
            > 0
        )
    except DuplicateKeyError:
        return False  # another of this name is in flight


def set_acl(images: Images, claim: Claim) -> ImageRecord:
    job = images.find_one(owned(claim))
    if job is None:
        raise lease_lost(claim)
    wanted = record_of(job)
    ready = {"system": wanted.system, "id": wanted.acl_image, "status": READY}
    changed = None
    for image in images.find(ready):
        # The job holds the image: nobody else who would change its lists is at it.
        fields = acl_fields(acl_of(wanted), private=bool(image.get("private")))
        if images.update_one(
            {"_id": image["_id"], "status": READY}, {"$set": fields}
        ).matched_count:
            changed = image | fields
    if changed is None:
        raise PullError(
            f"cannot change who may use {wanted.image_type}:{wanted.pull_tag}: it is not on "
            f"{wanted.system} any more"
        )
    return record_of(changed)


def finish_acl(images: Images, claim: Claim, now: float) -> None:
    job = claim.record
    if images.find_one(owned(claim), {"_id": True}) is None:
        raise lease_lost(claim)
    ready = {"system": job.system, "id": job.acl_image, "status": READY}
    images.update_many(ready, {"$set": {"acl_set": now}})
    if not images.delete_one(owned(claim)).deleted_count:
        raise lease_lost(claim)


# What is kept beside records: where a process dies in between, it is missing, or too much


def keep_details(
    details: Details, record: ImageRecord, image: PublishedImage, first_pull: float | None
) -> None:
    if image.details is None:
        return
    details.update_one(
        {"_id": place_of(record.system, image.image_id)},
        {
            "$set": {"content": image.details.to_text()},
            "$setOnInsert": {"first_pull": first_pull},
        },
        upsert=True,
    )


def is_gone(images: Images, record: ImageRecord) -> bool:
    """Whether no format of an image is READY any more."""
    ready = {"system": record.system, "id": record.image_id, "status": READY}
    return images.find_one(ready, {"_id": True}) is None


def forget_details(details: Details, record: ImageRecord) -> None:
    if record.image_id is not None:
        details.delete_one({"_id": place_of(record.system, record.image_id)})


def find_details(details: Details, system: str, image_id: str) -> ImageDetails | None:
    found = details.find_one({"_id": place_of(system, image_id)})
    if found is None:
        return None
    kept = ImageDetails.from_text(found["content"])
    return dataclasses.replace(kept, first_pull=found.get("first_pull"))


def place_of(system: str, image_id: str) -> str:
    return f"{image_id}@{system}"
