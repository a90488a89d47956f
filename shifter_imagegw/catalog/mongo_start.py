# SPDX-License-Identifier: BSD-3-Clause
"""What a database of any age needs before the gateway uses it: healing, and indexes.

Every process does this when it starts. Each change is guarded by what was read, so that several
may do it at once, and again.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping
from typing import Any

from pymongo import IndexModel
from pymongo.collection import Collection
from pymongo.database import Database
from pymongo.errors import DuplicateKeyError, OperationFailure

from shifter_imagegw.catalog import mongo_tags as tags
from shifter_imagegw.catalog.mongo_documents import (
    ENDED,
    IN_FLIGHT_STATUSES,
    JOB_STATUSES,
    NOBODYS,
    STATUSES,
    key_of,
    state_of,
)
from shifter_imagegw.catalog.mongo_publishing import READY
from shifter_imagegw.catalog.mongo_usage import USAGE_INDEXES
from shifter_imagegw.errors import CatalogError
from shifter_imagegw.records import PullState

log = logging.getLogger(__name__)

Document = dict[str, Any]
Images = Collection[Document]

FAILURE = PullState.FAILURE.value
ENDED_STATUSES = [FAILURE, PullState.EXPIRED.value]
_OTHER_INDEX_IS_THERE = {85, 86}  # the server's own numbers
_TRIES = 20

# A partial index is used only where its filter follows from the query: `$gt: ""` does from a text.
# Only such conditions are taken that every server knows.
IMAGE_INDEXES = [
    IndexModel(
        [("system", 1), ("itype", 1), ("pulltag", 1)],
        name="one_pull_in_flight",
        unique=True,
        partialFilterExpression={"in_flight": True},
    ),
    IndexModel(
        [("system", 1), ("id", 1), ("format", 1)],
        name="one_image_of_a_content",
        unique=True,
        partialFilterExpression={"status": READY, "id": {"$gt": ""}},
    ),
    IndexModel(
        [("system", 1), ("holds", 1)],
        name="one_holder",
        unique=True,
        partialFilterExpression={"holds": {"$gt": ""}},
    ),
    # These begin with what is rare: one that began with the system would look good to a query for
    # something else of that system, until most of its images have been read.
    IndexModel([("tag", 1), ("system", 1)], name="tags"),
    IndexModel([("id", 1), ("system", 1)], name="contents"),
    IndexModel([("pulltag", 1), ("system", 1)], name="pulls"),
    IndexModel([("status", 1), ("system", 1), ("expiration", 1)], name="states"),
    IndexModel([("puller", 1), ("last_heartbeat", 1)], name="turns"),
    IndexModel([("owner", 1)], name="owners", sparse=True),
]
METRICS_INDEXES = [IndexModel([("system", 1), ("time", 1), ("_id", 1)], name="times")]

# Documents that an older release, or an original gateway beside us, has left as we would not.
STALE: Document = {
    "$or": [
        {"tag": {"$not": {"$type": "array"}}},
        {"status": {"$nin": STATUSES}},
        {"format": None},
        {"status": {"$in": ENDED_STATUSES}, "last_pull": None},
        {"status": {"$in": IN_FLIGHT_STATUSES}, "in_flight": {"$ne": True}},
        {"status": {"$nin": IN_FLIGHT_STATUSES}, "in_flight": True},
        {"status": {"$nin": JOB_STATUSES}, "token": {"$exists": True}},
    ]
}


def prepare(database: Database[Document]) -> None:
    """Heal what is there, and see to the indexes."""
    images = database["images"]
    _heal(images)
    for _ in range(_TRIES):
        try:
            _create_indexes(images, IMAGE_INDEXES)
            break
        except DuplicateKeyError:
            _resolve_duplicates(images)
    else:
        raise CatalogError(
            f"collection 'images' of database {database.name!r} keeps getting two records of one "
            "image: stop the other gateway that writes into it"
        )
    # On the metrics of many years this may take longer than the connection waits; the server goes
    # on with it meanwhile, and who tries again waits for that.
    _create_indexes(database["metrics"], METRICS_INDEXES)
    for name in ("usage_days", "usage_counts"):
        _create_indexes(database[name], USAGE_INDEXES)


def healing_of(document: Mapping[str, Any]) -> Document:
    """The update that makes a document one of ours."""
    state = state_of(document.get("status"))
    sets: Document = {}
    unsets: Document = {}
    if state.value in IN_FLIGHT_STATUSES and not document.get("pulltag"):
        state = PullState.FAILURE
        sets["status_message"] = "the record does not say what to pull: pull the image again"
    if state.value != document.get("status"):
        sets["status"] = state.value
    if not isinstance(document.get("tag"), list):
        sets["tag"] = list(tags.tags_of(document))
    if document.get("format") is None:
        sets["format"] = "squashfs"
    if state.value in ENDED_STATUSES and document.get("last_pull") is None:
        sets["last_pull"] = 0.0
    if state.value in IN_FLIGHT_STATUSES:
        sets["in_flight"] = True
    elif state.value in JOB_STATUSES:
        unsets["in_flight"] = ""
    else:
        unsets = ENDED
    return {operator: fields for operator, fields in (("$set", sets), ("$unset", unsets)) if fields}


def _heal(images: Images) -> None:
    healed = 0
    for document in images.find(STALE):
        as_read = {name: document.get(name) for name in ("_id", "status", "tag", "token")}
        update = healing_of(document)
        try:
            healed += images.update_one(as_read, update).modified_count
        except DuplicateKeyError:
            _end_duplicate(images, document, update)
    if healed:
        log.info("records of another gateway taken over count=%d", healed)


def _end_duplicate(images: Images, document: Document, update: Document) -> None:
    """One that cannot be healed, as the index allows no second of its kind."""
    if update["$set"].get("in_flight"):
        _end_second_pull(images, document)
        return
    content = {name: document.get(name) for name in ("system", "id", "format")}
    content["format"] = content["format"] or "squashfs"
    first = images.find_one(content | {"status": READY})
    if first is not None:
        _merge(images, first, [document])


def _create_indexes(collection: Collection[Document], indexes: list[IndexModel]) -> None:
    try:
        collection.create_indexes(indexes)
    except OperationFailure as error:
        if error.code not in _OTHER_INDEX_IS_THERE:
            raise
        for index in indexes:
            _create_index(collection, index)


def _create_index(collection: Collection[Document], index: IndexModel) -> None:
    try:
        collection.create_indexes([index])
    except OperationFailure as error:
        if error.code not in _OTHER_INDEX_IS_THERE:
            raise
        name = index.document["name"]
        if index.document.get("unique"):
            raise CatalogError(
                f"index {name!r} of collection {collection.name!r} is not what the gateway "
                "needs: drop it, the gateway makes it anew"
            ) from error
        log.warning("an index of the site's own serves collection=%s for=%s", collection.name, name)


def _resolve_duplicates(images: Images) -> None:
    """Leave one where a unique index wants one."""
    for pulls in groups(images, {"in_flight": True}, ("system", "itype", "pulltag")):
        *others, _ = sorted(pulls, key=lambda pull: ("token" in pull, key_of(pull)))
        for other in others:
            _end_second_pull(images, other)
    content = {"status": READY, "id": {"$gt": ""}}
    for twins in groups(images, content, ("system", "id", "format")):
        *others, newest = sorted(
            twins, key=lambda twin: (twin.get("last_pull") or 0.0, key_of(twin))
        )
        _merge(images, newest, others)
    for holders in groups(images, {"holds": {"$gt": ""}}, ("system", "holds")):
        for holder in holders:
            images.update_one({"_id": holder["_id"]}, {"$unset": NOBODYS})


def groups(images: Images, match: Document, names: tuple[str, ...]) -> list[list[Document]]:
    """The documents that are the same in `names`, where there are several."""
    pipeline = [
        {"$match": match},
        {"$group": {"_id": {name: f"${name}" for name in names}, "ids": {"$push": "$_id"}}},
        {"$match": {"ids.1": {"$exists": True}}},
    ]
    groups = list(images.aggregate(pipeline, allowDiskUse=True))
    return [list(images.find({"_id": {"$in": group["ids"]}} | match)) for group in groups]


def _end_second_pull(images: Images, pull: Document) -> None:
    log.warning("second pull ended system=%s image=%s", pull.get("system"), pull.get("pulltag"))
    images.update_one(
        {"_id": pull["_id"], "status": pull["status"], "token": pull.get("token")},
        {
            "$set": {
                "status": FAILURE,
                "status_message": "another pull of the same image was under way: pull it again",
                "last_pull": time.time(),
            },
            "$unset": ENDED,
        },
    )


def _merge(images: Images, image: Document, twins: list[Document]) -> None:
    """Make one record of those that mean the same file: that of the newest pull.

    Who may read the image is what that record says, as the .meta file says the same.
    """
    for twin in twins:
        fields: Document = {}
        for move in tags.moves_of(twin):
            fields = tags.with_tag(image | fields, *move)
        if fields:
            changed = images.update_one(tags.unchanged(image), {"$set": fields})
            if not changed.matched_count:
                return  # somebody else is at it: the next try sees what is left
            image |= fields
        images.delete_one({"_id": twin["_id"], "status": twin["status"]})
        log.warning("two records of one image made one system=%s id=%s",
                    image.get("system"), image.get("id"))  # fmt: skip
