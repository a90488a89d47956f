# SPDX-License-Identifier: BSD-3-Clause
"""MongoDB as one end of a migration: the gateway's own database, or one of the original's.

What is read is not changed: an original's documents are understood as they would be healed.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any
from urllib.parse import urlsplit, urlunsplit

from pymongo import collection as pymongo_collection
from pymongo.errors import DuplicateKeyError

from shifter_imagegw.catalog import mongo_ailments, mongo_start, mongo_usage
from shifter_imagegw.catalog import mongo_tags as tags
from shifter_imagegw.catalog.copying import (
    KINDS,
    Item,
    StoredDay,
    StoredDetails,
    StoredRecord,
    at_rest,
)
from shifter_imagegw.catalog.mongo_connection import MongoConnection, server_of
from shifter_imagegw.catalog.mongo_documents import (
    HIDDEN,
    document_of,
    lookup_of,
    record_of,
    state_of,
)
from shifter_imagegw.catalog.mongo_jobs import place_of
from shifter_imagegw.catalog.mongo_publishing import READY, ready_content
from shifter_imagegw.errors import CatalogError
from shifter_imagegw.records import ImageRecord, Lookup, PullState, UsageCount, UsageDay

Document = dict[str, Any]
Documents = pymongo_collection.Collection[Document]

_COLLECTIONS = {
    "records": "images",
    "details": "details",
    "lookups": "metrics",
    "usage days": "usage_days",
    "usage counts": "usage_counts",
}
_NUMBERS = ("lookups", "pulls", "failures")
_SHOWN = {name: hidden for name, hidden in HIDDEN.items() if name in ("token", "owner", "holds")}


class MongoHome:
    """`Home` on a database; indexes are made where something is written."""

    def __init__(self, uri: str, database: str) -> None:
        self._name = database
        self._where = server_of(uri)
        self._untouched = MongoConnection(uri, database, lambda _: None)
        self._prepared = MongoConnection(uri, database, mongo_start.prepare)

    @classmethod
    def at(cls, url: str) -> MongoHome:
        """`mongodb://[USER:PASSWORD@]HOST[:PORT]/DATABASE[?OPTIONS]`."""
        parts = urlsplit(url)
        database = parts.path.strip("/")
        if not database or "/" in database:
            raise CatalogError(
                "a database of MongoDB is written as mongodb://HOST[:PORT]/DATABASE, and there is "
                "no DATABASE"
            )
        # As in MongoDBURI: who logs in is known to the server, not to this database.
        return cls(urlunsplit(parts._replace(path="/")), database)

    def __str__(self) -> str:
        return f"{self._where}, database {self._name!r}"

    def close(self) -> None:
        self._untouched.close()
        self._prepared.close()

    def count(self) -> Counter[str]:
        found: Counter[str] = Counter()
        for kind, _ in KINDS:
            with self._untouched.using(_COLLECTIONS[kind]) as collection:
                found[kind] = collection.count_documents({})
        return +found

    def tags(self) -> dict[tuple[str, str, str], str]:
        with self._untouched.using("images") as images:
            owners = _Owners(images)
        return owners.meanings

    def ailments(self) -> Counter[str]:
        """What a gateway puts right here when it starts, in words; nothing is changed."""
        with self._untouched.using("images") as images:
            return mongo_ailments.find(images)

    def read(self, kind: str, left_out: Counter[str]) -> Iterator[Item]:
        with self._untouched.using(_COLLECTIONS[kind]) as collection:
            if kind == "records":
                yield from _records(collection, left_out)
            elif kind == "details":
                for one in collection.find():
                    image_id, _, system = str(one["_id"]).partition("@")
                    yield StoredDetails(
                        system=system, image_id=image_id, content=one["content"],
                        first_pull=one.get("first_pull"),
                    )  # fmt: skip
            elif kind == "lookups":
                yield from map(lookup_of, collection.find(sort=[("time", 1), ("_id", 1)]))
            elif kind == "usage days":
                for one in collection.find():
                    yield StoredDay(system=one["system"], day=_day_of(one))
            else:
                yield from map(_count_of, collection.find())

    def write(self, kind: str, items: Sequence[Item], *, merge: bool) -> int:
        with self._prepared.using(_COLLECTIONS[kind]) as collection:
            if kind == "lookups":
                rows = [item.to_wire() for item in items if isinstance(item, Lookup)]
                if merge:
                    rows = [row for row in rows if collection.find_one(row, {"_id": 1}) is None]
                if rows:
                    collection.insert_many(rows)
                return len(rows)
            return sum(_put(collection, item) for item in items)


class _Owners:
    """Of an original's images: which document stands for a content, and for a name."""

    def __init__(self, images: Documents) -> None:
        self.newest: dict[tuple[Any, ...], Any] = {}  # by content, the document's _id
        self.tags: dict[Any, list[tuple[str, str]]] = {}  # by that _id
        self.meanings: dict[tuple[str, str, str], str] = {}
        shown = dict.fromkeys(
            ("system", "id", "format", "itype", "tag", "tag_moves", "last_pull"), True
        )
        # Statuses of old releases mean READY, too.
        ready = {"status": {"$in": [READY, "SUCCESS"]}}
        found = list(images.find(ready, shown, sort=[("_id", 1)]))
        for document in sorted(found, key=_age):
            self.newest[_content(document)] = document["_id"]
        owners: dict[tuple[str, str, str], tuple[tuple[Any, ...], Document]] = {}
        for document in found:
            for move in tags.moves_of(document):
                name = (str(document.get("system", "")), move.image_type, move.tag)
                rank = (move.number, *_age(document))
                if name not in owners or owners[name][0] < rank:
                    owners[name] = (rank, document)
        for name, (_, document) in owners.items():
            place = self.newest[_content(document)]
            self.tags.setdefault(place, []).append(name[1:])
            self.meanings[name] = str(document.get("id", ""))


def _age(document: Document) -> tuple[Any, ...]:
    return (document.get("last_pull") or 0.0, str(document["_id"]))


def _content(document: Document) -> tuple[Any, ...]:
    return document.get("system"), document.get("id"), document.get("format") or "squashfs"


def _records(images: Documents, left_out: Counter[str]) -> Iterator[Item]:
    owners = _Owners(images)
    newest_jobs: dict[tuple[str, str, str], Any] = {}
    for document in images.find({"status": {"$ne": READY}}, {**_SHOWN}, sort=[("_id", 1)]):
        record = record_of(document)
        if record.is_in_flight:
            newest_jobs[record.system, record.image_type, record.pull_tag] = document["_id"]
    for is_ready in (True, False):
        for document in images.find({}, _SHOWN, sort=[("_id", 1)]):
            if (state_of(document.get("status")) is PullState.READY) is not is_ready:
                continue
            healed = mongo_ailments.healed(document)
            record = record_of(healed)
            if record.state is PullState.EXPIRED:
                left_out["records of images that are gone"] += 1
                continue
            if is_ready and owners.newest[_content(document)] != document["_id"]:
                left_out["second records of one image (the newest is carried)"] += 1
                continue
            name = (record.system, record.image_type, record.pull_tag)
            if record.is_in_flight and newest_jobs[name] != document["_id"]:
                left_out["second jobs of one image (the newest is carried)"] += 1
                continue
            names = owners.tags.get(document["_id"], []) if is_ready else _own_tags(document)
            yield StoredRecord(
                record=at_rest(record),
                tags=tuple(names),
                told=tuple(healed.get("told") or ()),
                sealed_credentials=healed.get("sealed_credentials"),
            )


def _own_tags(document: Document) -> list[tuple[str, str]]:
    return [(move.image_type, move.tag) for move in tags.moves_of(document)]


def _day_of(document: Document) -> UsageDay:
    return UsageDay(
        day=document["day"],
        images=document.get("images"),
        bytes=document.get("bytes"),
        **{name: document.get(name, 0) for name in _NUMBERS},
    )


def _count_of(document: Document) -> UsageCount:
    names = ("system", "day", "image", "uid", "restricted")
    return UsageCount(
        **{name: document[name] for name in names},
        **{name: document.get(name, 0) for name in _NUMBERS},
    )


def _put(collection: Documents, item: Item) -> int:
    if isinstance(item, StoredRecord):
        return _put_record(collection, item)
    if isinstance(item, StoredDetails):
        names = {"_id": place_of(item.system, item.image_id)}
        kept: Document = {"content": item.content}
        if item.first_pull is not None:
            kept["first_pull"] = item.first_pull
        changed = collection.update_one(names, {"$setOnInsert": kept}, upsert=True)
        return int(changed.upserted_id is not None)
    if isinstance(item, StoredDay):
        stock = {"images": item.day.images, "bytes": item.day.bytes}
        known = {name: number for name, number in stock.items() if number is not None}
        numbers = {name: getattr(item.day, name) for name in _NUMBERS}
        mongo_usage.raise_to(
            collection, {"system": item.system, "day": item.day.day}, numbers, known
        )
        return 1
    assert isinstance(item, UsageCount)
    numbers = {name: getattr(item, name) for name in _NUMBERS}
    mongo_usage.raise_to(collection, mongo_usage.names_of(item), numbers, {})
    return 1


def _put_record(images: Documents, item: StoredRecord) -> int:
    record = item.record
    free = [name for name in item.tags if not _is_taken(images, record, *name)]
    same = _same(images, record)
    if same is not None:
        for image_type, tag in free if record.state is PullState.READY else ():
            images.update_one(
                {"_id": same["_id"]}, {"$set": tags.with_tag(same, image_type, tag, 0)}
            )
            same = images.find_one({"_id": same["_id"]}) or same
        return 0
    document = document_of(record)
    for image_type, tag in free:
        document |= tags.with_tag(document, image_type, tag, 0)
    if item.told:
        document["told"] = list(item.told)
    if item.sealed_credentials:
        document["sealed_credentials"] = item.sealed_credentials
    try:
        images.insert_one(document)
    except DuplicateKeyError:
        return 0
    return 1


def _is_taken(images: Documents, record: ImageRecord, image_type: str, tag: str) -> bool:
    found = images.find({"system": record.system, "tag": tag, "status": READY})
    return any(tags.number_of(other, image_type, tag) is not None for other in found)


def _same(images: Documents, record: ImageRecord) -> Document | None:
    if record.state in (PullState.READY, PullState.EXPIRING):
        content = ready_content(record.system, record.image_id or "", record.format)
        return images.find_one(content | {"status": {"$in": [READY, "EXPIRING"]}})
    if record.is_in_flight:
        return None  # the index allows no second
    return images.find_one(
        {
            "system": record.system, "itype": record.image_type, "pulltag": record.pull_tag,
            "status": record.state.value, "puller": record.puller, "last_pull": record.last_pull,
        }
    )  # fmt: skip
