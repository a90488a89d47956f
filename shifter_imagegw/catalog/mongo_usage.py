# SPDX-License-Identifier: BSD-3-Clause
"""The usage history in MongoDB: collections `usage_days` and `usage_counts`."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Collection, Mapping
from contextlib import AbstractContextManager
from typing import Any

from pymongo import IndexModel, UpdateOne
from pymongo import collection as pymongo_collection
from pymongo.errors import BulkWriteError

from shifter_imagegw.catalog.mongo_connection import QUICK
from shifter_imagegw.records import Holding, PullState, UsageCount, UsageDay, by_day

Document = dict[str, Any]
Documents = pymongo_collection.Collection[Document]

USAGE_INDEXES = [IndexModel([("system", 1), ("day", 1)], name="days")]

_TRIES = 5
_DUPLICATE_KEY = 11000
_NUMBERS = ("lookups", "pulls", "failures")


class MongoUsage:
    """Those methods of the `Catalog` protocol that are about usage over time."""

    _using: Callable[[str], AbstractContextManager[Documents]]

    def holdings(self, system: str) -> list[Holding]:
        with self._using("images") as images:
            groups = images.aggregate(
                [
                    {"$match": {"system": system, "status": PullState.READY.value}},
                    {
                        "$group": {
                            "_id": {"$ifNull": ["$puller", None]},
                            "images": {"$sum": 1},
                            "bytes": {"$sum": "$size"},
                            "last_pull": {"$max": "$last_pull"},
                        }
                    },
                ]
            )
            return [
                Holding(
                    uid=group["_id"],
                    images=group["images"],
                    bytes=int(group["bytes"]),
                    last_pull=group["last_pull"],
                )
                for group in groups
            ]

    def usage_days(self, system: str, first_day: str) -> list[UsageDay]:
        with self._using("usage_days") as days:
            found = days.find({"system": system, "day": {"$gte": first_day}}, sort=[("day", 1)])
            return [
                UsageDay(
                    day=one["day"],
                    images=one.get("images"),
                    bytes=one.get("bytes"),
                    **{name: one.get(name, 0) for name in _NUMBERS},
                )
                for one in found
            ]

    def usage_counts(self, system: str, first_day: str) -> list[UsageCount]:
        name = {"image": "$image", "uid": "$uid", "restricted": "$restricted"}
        with self._using("usage_counts") as counts:
            groups = counts.aggregate(
                [
                    {"$match": {"system": system, "day": {"$gte": first_day}}},
                    {
                        "$group": {"_id": name, "day": {"$max": "$day"}}
                        | {number: {"$sum": f"${number}"} for number in _NUMBERS}
                    },
                ],
                allowDiskUse=True,
            )
            return [
                UsageCount(
                    system=system,
                    day=group["day"],
                    image=group["_id"]["image"],
                    uid=group["_id"]["uid"],
                    restricted=group["_id"]["restricted"],
                    **{number: group[number] for number in _NUMBERS},
                )
                for group in groups
            ]

    def add_usage(self, counts: Collection[UsageCount]) -> None:
        if not counts:
            return
        with self._using("usage_counts") as collection:
            _write(collection, [_addition(names_of(one), one) for one in counts])
        with self._using("usage_days") as collection:
            _write(
                collection,
                [
                    _addition({"system": system, "day": day}, one)
                    for (system, day), one in by_day(counts).items()
                ],
            )

    def set_stock(self, system: str, day: str, images: int, size: int) -> None:
        names = {"system": system, "day": day}
        stock = {"$set": {"images": images, "bytes": size}, "$setOnInsert": names}
        with self._using("usage_days") as collection:
            _write(collection, [UpdateOne({"_id": _key(names)}, stock, upsert=True)])

    def purge_usage(self, before_day: str) -> None:
        for name in ("usage_days", "usage_counts"):
            with self._using(name) as collection:
                old = {"day": {"$lt": before_day}}
                # Looking first costs no write that waits for the disk.
                if collection.find_one(old, {"_id": True}) is not None:
                    collection.delete_many(old)


def raise_to(
    collection: Documents, names: Document, numbers: Mapping[str, int], stock: Mapping[str, int]
) -> None:
    """Have a document with these names that has no smaller numbers, and that stock if none."""
    key = {"_id": _key(names)}
    change = {"$max": dict(numbers), "$setOnInsert": names}
    _write(collection, [UpdateOne(key, change, upsert=True)])
    if stock:
        collection.update_one(key | dict.fromkeys(stock), {"$set": dict(stock)})


def names_of(one: UsageCount) -> Document:
    return {
        "system": one.system,
        "day": one.day,
        "image": one.image,
        "uid": one.uid,
        "restricted": one.restricted,
    }


def _addition(names: Document, one: UsageCount | UsageDay) -> UpdateOne:
    numbers = {number: getattr(one, number) for number in _NUMBERS}
    return UpdateOne({"_id": _key(names)}, {"$inc": numbers, "$setOnInsert": names}, upsert=True)


def _key(names: Document) -> str:
    """One `_id` for the same names; a name may be longer than an index takes."""
    return hashlib.sha256(json.dumps(list(names.values())).encode()).hexdigest()


def _write(collection: Documents, changes: list[UpdateOne]) -> None:
    """Have all of them written; two that begin a document at once are no failure."""
    quick = collection.with_options(write_concern=QUICK)
    for _ in range(_TRIES):
        try:
            quick.bulk_write(changes, ordered=False)
        except BulkWriteError as error:
            failures = error.details["writeErrors"]
            if any(failure["code"] != _DUPLICATE_KEY for failure in failures):
                raise
            changes = [changes[failure["index"]] for failure in failures]
        else:
            return
