# SPDX-License-Identifier: BSD-3-Clause
"""The catalog of a site's gateway: the original's MongoDB database, shared by many hosts."""

from __future__ import annotations

import secrets
import time
from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import timedelta
from operator import itemgetter
from typing import Any

from pymongo import ReturnDocument
from pymongo import collection as pymongo_collection
from pymongo.errors import DuplicateKeyError

from shifter_imagegw.catalog import mongo_holds, mongo_jobs, mongo_start
from shifter_imagegw.catalog import mongo_publishing as publishing
from shifter_imagegw.catalog.mongo_connection import QUICK, MongoConnection
from shifter_imagegw.catalog.mongo_documents import (
    ENDED,
    HIDDEN,
    IN_FLIGHT_STATUSES,
    JOB_STATUSES,
    NOBODYS,
    id_of,
    lookup_of,
    new_document,
    progress,
    record_of,
    removal,
    state_of,
)
from shifter_imagegw.catalog.mongo_publishing import READY, lease_lost, owned
from shifter_imagegw.catalog.mongo_tags import moves_of
from shifter_imagegw.catalog.mongo_turns import claimable, elect, is_taken, next_jobs
from shifter_imagegw.catalog.mongo_usage import MongoUsage
from shifter_imagegw.details import ImageDetails, LayerProgress
from shifter_imagegw.records import (
    Claim,
    ImageRecord,
    Lookup,
    NewPull,
    PublishedImage,
    PullState,
    Usage,
)

Document = dict[str, Any]
Images = pymongo_collection.Collection[Document]

_FAILURE = PullState.FAILURE.value
_EXPIRED = PullState.EXPIRED.value


class MongoCatalog(MongoUsage):
    """The `Catalog` protocol on MongoDB, collections `images`, `details`, `metrics`, `agreements`
    and those of `MongoUsage`.

    Safe to share between threads and to carry through fork(); raises `CatalogError`. Each change
    is one atomic change of one document, so that the server need not be in a replica set; how
    those that concern several documents are ordered is told in `mongo_publishing`.
    """

    def __init__(self, uri: str, database: str) -> None:
        self._connection = MongoConnection(uri, database, mongo_start.prepare)
        self._using = self._connection.using

    def close(self) -> None:
        self._connection.close()

    def check(self) -> None:
        with self._using("agreements") as agreements:
            agreements.update_one({"_id": "check"}, {"$set": {"time": time.time()}}, upsert=True)

    # What is known

    def find_ready(self, system: str, image_type: str, tag: str) -> ImageRecord | None:
        with self._using("images") as images:
            return _record_or_none(
                publishing.find_ready_tag(images, system, image_type, tag, HIDDEN)
            )

    def find_ready_id(self, system: str, image_id: str, format: str) -> ImageRecord | None:
        with self._using("images") as images:
            content = publishing.ready_content(system, image_id, format)
            return _record_or_none(images.find_one(content, HIDDEN))

    def find_pull(self, system: str, image_type: str, pull_tag: str) -> ImageRecord | None:
        with self._using("images") as images:
            found = images.find_one(
                _pulls_of(system, image_type, pull_tag) | {"status": {"$ne": READY}},
                HIDDEN,
                sort=[("in_flight", -1), ("_id", -1)],
            )
            return _record_or_none(found)

    def find_failure(
        self, system: str, image_type: str, pull_tag: str, uid: int
    ) -> ImageRecord | None:
        untold = {"status": _FAILURE, "id": None, "puller": uid, "told": {"$ne": uid}}
        with self._using("images") as images:
            found = images.find_one(
                _pulls_of(system, image_type, pull_tag) | untold, HIDDEN, sort=[("_id", -1)]
            )
            return _record_or_none(found)

    def list_ready(self, system: str) -> list[ImageRecord]:
        with self._using("images") as images:
            return _records(images.find({"system": system, "status": READY}, HIDDEN))

    def list_queue(self, system: str, puller: int | None = None) -> list[ImageRecord]:
        queued: Document = {"system": system, "status": {"$in": [*JOB_STATUSES, _FAILURE]}}
        if puller is not None:
            queued["puller"] = puller
        with self._using("images") as images:
            return _records(images.find(queued, HIDDEN))

    def list_expired(self, system: str, now: float) -> list[ImageRecord]:
        with self._using("images") as images:
            expired = {"system": system, "status": READY, "expiration": {"$lt": now}}
            return _records(images.find(expired, HIDDEN))

    def usage(self, system: str, puller: int) -> Usage:
        with self._using("images") as images:
            totals = images.aggregate(
                [
                    {"$match": {"system": system, "status": READY, "puller": puller}},
                    {"$group": {"_id": None, "images": {"$sum": 1}, "bytes": {"$sum": "$size"}}},
                ]
            )
            for total in totals:
                return Usage(images=total["images"], bytes=int(total["bytes"]))
            return Usage(images=0, bytes=0)

    def count_queued(self, puller: int) -> int:
        with self._using("images") as images:
            return images.count_documents({"puller": puller, "status": {"$in": IN_FLIGHT_STATUSES}})

    def count_states(self) -> Mapping[tuple[str, PullState], int]:
        with self._using("images") as images:
            counts: dict[tuple[str, PullState], int] = {}
            name = {"system": "$system", "status": "$status"}
            for group in images.aggregate([{"$group": {"_id": name, "count": {"$sum": 1}}}]):
                key = (str(group["_id"].get("system", "")), state_of(group["_id"].get("status")))
                counts[key] = counts.get(key, 0) + group["count"]
            return counts

    def count_claimable(self, systems: Collection[str], now: float) -> Mapping[str, int]:
        with self._using("images") as images:
            groups = images.aggregate(
                [
                    {"$match": claimable(systems, now)},
                    {"$group": {"_id": "$system", "count": {"$sum": 1}}},
                ]
            )
            return {group["_id"]: group["count"] for group in groups}

    def find_details(self, system: str, image_id: str) -> ImageDetails | None:
        with self._using("details") as details:
            return mongo_jobs.find_details(details, system, image_id)

    def list_lookups(self, system: str, limit: int) -> list[Lookup]:
        if limit <= 0:
            return []  # which MongoDB takes for no limit at all
        with self._using("metrics") as metrics:
            last = metrics.find({"system": system}, sort=[("time", -1), ("_id", -1)], limit=limit)
            return [lookup_of(document) for document in last][::-1]

    # What is asked for

    def add_pull(self, new: NewPull, now: float) -> ImageRecord:
        name = _pulls_of(new.system, new.image_type, new.pull_tag)
        document = new_document(new, now)
        with self._using("images") as images:
            while True:
                in_flight = images.find_one(name | {"status": {"$in": IN_FLIGHT_STATUSES}}, HIDDEN)
                if in_flight is not None:
                    return record_of(in_flight)
                try:
                    images.insert_one(document)
                except DuplicateKeyError:
                    continue  # somebody else's, a moment earlier
                images.delete_many(name | _history(new.puller))
                return record_of(document)

    def add_expire(self, record: ImageRecord, *, expired_at: float | None = None) -> None:
        ready = {"_id": id_of(record.key), "status": READY}
        if expired_at is not None:
            ready["expiration"] = {"$lt": expired_at}
        with self._using("images") as images:
            document = images.find_one(ready)
            if document is None:
                return
            for move in moves_of(document):
                # Else an older image, from which a publisher that died did not take it any more,
                # would be found by the tag once this one is gone.
                publishing.settle_tag(images, record.system, move.image_type, move.tag)
            images.update_one(ready, {"$set": removal(time.time())})

    def cancel(self, record: ImageRecord, reason: str, now: float) -> bool:
        with self._using("images") as images:
            return mongo_jobs.cancel(images, record, reason, now)

    def requeue(self, record: ImageRecord, sealed_credentials: str | None, now: float) -> bool:
        with self._using("images") as images:
            return mongo_jobs.requeue(images, record, sealed_credentials, now)

    def arm_expiration(self, record: ImageRecord, expiration: float) -> None:
        with self._using("images") as images:
            images.update_one({"_id": id_of(record.key)}, {"$max": {"expiration": expiration}})

    def tell_failure(self, record: ImageRecord, uid: int) -> bool:
        with self._using("images") as images:
            news = {"_id": id_of(record.key), "status": _FAILURE, "told": {"$ne": uid}}
            return images.update_one(news, {"$push": {"told": uid}}).modified_count > 0

    def purge_failures(self, before: float) -> None:
        with self._using("images") as images:
            stale = {"status": _FAILURE, "last_pull": {"$lt": before}}
            # Looking first costs no write that waits for the disk.
            if images.find_one(stale, {"_id": True}) is not None:
                images.delete_many(stale)

    def purge_ended(self, system: str, before: float) -> int:
        with self._using("images") as images:
            ended = {"status": {"$in": [_FAILURE, _EXPIRED]}, "last_pull": {"$lt": before}}
            return images.delete_many({"system": system} | ended).deleted_count

    def add_lookup(self, lookup: Lookup) -> None:
        with self._using("metrics") as metrics:
            metrics.with_options(write_concern=QUICK).insert_one(lookup.to_wire())

    # What workers do

    def claim(
        self, systems: Collection[str], worker: str, lease: timedelta, now: float
    ) -> Claim | None:
        token = secrets.token_hex(16)
        claiming = {
            "$set": {
                "owner": worker,
                "token": token,
                "lease_end": now + lease.total_seconds(),
                "last_heartbeat": now,
            },
            "$unset": {"holds": ""},
            "$inc": {"attempts": 1},
        }
        with self._using("images") as images:
            while jobs := next_jobs(images, systems, now):
                for job in jobs:
                    claimed = images.find_one_and_update(
                        claimable(systems, now) | {"_id": job},
                        claiming,
                        return_document=ReturnDocument.AFTER,
                    )
                    if claimed is not None:
                        return Claim(
                            record=record_of(claimed),
                            token=token,
                            worker=worker,
                            sealed_credentials=claimed.get("sealed_credentials"),
                        )
            return None

    def renew(self, claim: Claim, lease: timedelta, now: float) -> None:
        kept = {"lease_end": now + lease.total_seconds(), "last_heartbeat": now}
        self._write_as_owner(claim, {"$set": kept})

    def hold(self, claim: Claim, image_id: str, now: float) -> bool:
        with self._using("images") as images:
            return mongo_holds.hold(images, claim, image_id, now)

    def report(
        self,
        claim: Claim,
        state: PullState,
        message: str,
        *,
        bytes_done: int | None = None,
        bytes_total: int | None = None,
        layers: Sequence[LayerProgress] | None = None,
    ) -> None:
        counts: Document = {"bytes_done": bytes_done, "bytes_total": bytes_total}
        counts["layers"] = None if layers is None else [layer.to_wire() for layer in layers]
        known = {name: count for name, count in counts.items() if count is not None}
        forgotten = {name: "" for name in counts.keys() - known.keys()}
        self._write_as_owner(
            claim,
            {"$set": progress(state, message) | known}
            | ({"$unset": forgotten} if forgotten else {}),
        )

    def publish(self, claim: Claim, image: PublishedImage, now: float) -> ImageRecord:
        number = self._next_move()
        content = publishing.ready_content(claim.record.system, image.image_id, image.format)
        with self._using("images") as images:
            is_new = images.find_one(content, {"_id": True}) is None
        # First, as this can be done again and again, and the rest cannot.
        with self._using("details") as details:
            mongo_jobs.keep_details(details, claim.record, image, now if is_new else None)
        with self._using("images") as images, publishing.keepable():
            return record_of(publishing.publish(images, claim, image, number, now))

    def set_acl(self, claim: Claim) -> ImageRecord:
        with self._using("images") as images:
            return mongo_jobs.set_acl(images, claim)

    def finish_acl(self, claim: Claim, now: float) -> None:
        with self._using("images") as images:
            mongo_jobs.finish_acl(images, claim, now)

    def fail(self, claim: Claim, reason: str) -> None:
        ended = progress(PullState.FAILURE, reason) | {"last_pull": time.time()}
        self._write_as_owner(claim, {"$set": ended, "$unset": ENDED})

    def finish_expire(self, claim: Claim) -> None:
        ended = {"status": _EXPIRED, "status_message": _EXPIRED}
        self._write_as_owner(claim, {"$set": ended, "$unset": ENDED})
        with self._using("images") as images:
            is_gone = mongo_jobs.is_gone(images, claim.record)
        if is_gone:
            with self._using("details") as details:
                mongo_jobs.forget_details(details, claim.record)

    def give_back(self, worker: str) -> None:
        with self._using("images") as images:
            images.update_many({"owner": worker}, {"$unset": NOBODYS, "$inc": {"attempts": -1}})

    def release(self, workers: Collection[str]) -> int:
        with self._using("images") as images:
            theirs = {"owner": {"$in": list(workers)}}
            return images.update_many(theirs, {"$unset": NOBODYS}).modified_count

    def workers(self) -> list[str]:
        with self._using("images") as images:
            return list(images.distinct("owner", {"owner": {"$gt": ""}}))

    # What processes agree on

    def elect(self, role: str, process: str, duration: timedelta, now: float) -> bool:
        with self._using("agreements") as agreements:
            return elect(agreements, role, process, until=now + duration.total_seconds(), now=now)

    def is_taken(self, role: str, now: float) -> bool:
        with self._using("agreements") as agreements:
            return is_taken(agreements, role, now)

    def _next_move(self) -> int:
        with self._using("agreements") as agreements:
            moves: Any = agreements.find_one_and_update(
                {"_id": "tag moves"},
                {"$inc": {"number": 1}},
                upsert=True,
                return_document=ReturnDocument.AFTER,
            )
            return int(moves["number"])

    def _write_as_owner(self, claim: Claim, update: Document) -> None:
        with self._using("images") as images:
            if not images.update_one(owned(claim), update).matched_count:
                raise lease_lost(claim)


def _pulls_of(system: str, image_type: str, pull_tag: str) -> Document:
    return {"system": system, "itype": image_type, "pulltag": pull_tag}


def _history(puller: int | None) -> Document:
    """What a new pull by `puller` makes history: not what another still has to be told."""
    is_history = [
        {"status": _EXPIRED},
        {"id": {"$ne": None}},
        {"puller": {"$in": [None, puller]}},
        {"$expr": {"$in": ["$puller", {"$ifNull": ["$told", []]}]}},
    ]
    return {"status": {"$in": [_FAILURE, _EXPIRED]}, "$or": is_history}


def _records(documents: Iterable[Document]) -> list[ImageRecord]:
    """Oldest first."""
    return [record_of(document) for document in sorted(documents, key=itemgetter("_id"))]


def _record_or_none(document: Document | None) -> ImageRecord | None:
    return None if document is None else record_of(document)
