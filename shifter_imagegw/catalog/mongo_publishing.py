# SPDX-License-Identifier: BSD-3-Clause
"""The end of a pull, in steps that may be cut off anywhere.

Each step is one atomic change of one document, and works on any MongoDB, in a replica set or not.
What a process that dies leaves undone is harmless, and done by the next who comes by:

- until the pull's document has changed, the pull goes on: another worker claims and publishes it;
- a tag that is on two images belongs to the one that it was moved to last (`mongo_tags`);
- a removal of an image that is READY again is refused when it wants to hold the image.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from typing import Any

from pymongo import ReturnDocument
from pymongo.collection import Collection
from pymongo.errors import DuplicateKeyError, OperationFailure

from shifter_imagegw.acl import Acl, acl_after_pull
from shifter_imagegw.catalog import mongo_tags as tags
from shifter_imagegw.catalog.mongo_connection import UNKEEPABLE
from shifter_imagegw.catalog.mongo_documents import ENDED, id_of, image_fields, record_of
from shifter_imagegw.errors import CatalogError, LeaseLostError, PullError
from shifter_imagegw.records import Claim, PublishedImage, PullState

Document = dict[str, Any]
Images = Collection[Document]

READY = PullState.READY.value
_UNKEEPABLE = "MongoDB cannot keep what the image's config says (labels, environment, command)"
_NOT_KEPT = {52, 10334, 17419, 17420}  # the server's numbers: a name with $, too large
_TRIES = 100  # against others who change the same documents; each try that fails is their success


def owned(claim: Claim) -> Document:
    """A filter for the claim's job while it is the claim's."""
    return {"_id": id_of(claim.record.key), "token": claim.token}


def lease_lost(claim: Claim) -> LeaseLostError:
    record = claim.record
    return LeaseLostError(
        f"worker {claim.worker} no longer owns the job for "
        f"{record.image_type}:{record.pull_tag} on {record.system}"
    )


def ready_content(system: str, image_id: str, format: str) -> Document:
    return {"system": system, "id": image_id, "format": format, "status": READY}


def ready_tag(system: str, tag: str) -> Document:
    return {"system": system, "tag": tag, "status": READY}


def find_ready_tag(
    images: Images, system: str, image_type: str, tag: str, hidden: Mapping[str, bool]
) -> Document | None:
    found = images.find(ready_tag(system, tag), hidden)
    return tags.by_belonging(found, image_type, tag)[0]


@contextlib.contextmanager
def keepable() -> Iterator[None]:
    """Fail the pull of an image whose description MongoDB cannot keep: trying again is no help."""
    try:
        yield
    except UNKEEPABLE as error:
        raise PullError(f"{_UNKEEPABLE}: {error}") from error
    except OperationFailure as error:
        if error.code not in _NOT_KEPT:
            raise
        raise PullError(f"{_UNKEEPABLE}: {error}") from error


def publish(
    images: Images, claim: Claim, image: PublishedImage, number: int, now: float
) -> Document:
    """Make the image READY with the pull's tag; its document.

    `number` was taken before: so it is smaller than the number of whoever claims the pull after
    the look at the token below.
    """
    for _ in range(_TRIES):
        pull = images.find_one(owned(claim))
        if pull is None:
            raise lease_lost(claim)
        name = (pull["system"], pull["itype"], pull["pulltag"])
        same = images.find_one(ready_content(pull["system"], image.image_id, image.format))
        carrier = same or find_ready_tag(images, *name, {})
        acl = acl_after_pull(
            record_of(pull),
            image_id=image.image_id,
            private=image.private,
            existing=None if carrier is None else record_of(carrier),
        )
        ready = _ready(pull, same or pull, image, acl, number, now)
        published = (
            _become_image(images, claim, ready)
            if same is None
            else _refresh_image(images, same, ready)
        )
        if published is not None:
            break
    else:
        raise CatalogError(f"{claim.record.pull_tag} cannot be published: others change it, too")
    images.delete_many(
        ready_content(pull["system"], image.image_id, image.format)
        # Not what was published: whoever has it removed already wants it removed.
        | {"status": {"$ne": READY}, "_id": {"$ne": published["_id"]}}
    )
    settle_tag(images, *name)
    if same is not None and not images.delete_one(owned(claim)).deleted_count:
        raise lease_lost(claim)
    return published


def settle_tag(images: Images, system: str, image_type: str, tag: str) -> None:
    """Take a tag from all but the one to which it belongs."""
    shown = {"tag": True, "tag_moves": True, "itype": True, "last_pull": True}
    for _ in range(_TRIES):
        found = images.find({"system": system, "tag": tag}, shown)
        _, others = tags.by_belonging(found, image_type, tag)
        if not others:
            return
        for other in others:
            images.update_one(
                tags.unchanged(other), {"$set": tags.without_tag(other, image_type, tag)}
            )


def _ready(
    pull: Document, document: Document, image: PublishedImage, acl: Acl, number: int, now: float
) -> Document:
    """The update that makes `document`, the pull or an older image, READY."""
    fields, absent = image_fields(image, acl)
    fields |= tags.with_tag(document, pull["itype"], pull["pulltag"], number)
    fields |= {
        "status": READY,
        "status_message": "Image ready",
        "last_pull": now,
        "last_heartbeat": now,
    }
    if document.get("puller") is None and pull.get("puller") is not None:
        fields["puller"] = pull["puller"]
    update: Document = {"$set": fields, "$unset": ENDED | absent}
    if image.expiration is not None:
        update["$max"] = {"expiration": image.expiration}
    return update


def _become_image(images: Images, claim: Claim, ready: Document) -> Document | None:
    """Turn the pull's document into the image's; None where the content has become READY."""
    try:
        published = images.find_one_and_update(
            owned(claim), ready, return_document=ReturnDocument.AFTER
        )
    except DuplicateKeyError:
        return None
    if published is None:
        raise lease_lost(claim)
    return published


def _refresh_image(images: Images, same: Document, ready: Document) -> Document | None:
    """Renew the image that is there already; None where it has changed since it was read."""
    return images.find_one_and_update(
        tags.unchanged(same) | {"status": READY},  # every refresh changes a tag's number
        ready,
        return_document=ReturnDocument.AFTER,
    )
