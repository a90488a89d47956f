# SPDX-License-Identifier: BSD-3-Clause
"""Whose turn it is: pullers take turns, and processes roles."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from pymongo import collection
from pymongo.errors import DuplicateKeyError

from shifter_imagegw.catalog.mongo_documents import JOB_STATUSES

Document = dict[str, Any]
Images = collection.Collection[Document]
Agreements = collection.Collection[Document]

_ROLES_KEPT = 3600.0  # seconds after their end


def claimable(systems: Collection[str], now: float) -> Document:
    return {
        "status": {"$in": JOB_STATUSES},
        "system": {"$in": list(systems)},
        "$or": [{"token": None}, {"lease_end": {"$lte": now}}],
    }


def next_jobs(images: Images, systems: Collection[str], now: float) -> list[Any]:
    """The oldest job of each puller; first that of who has waited longest to be worked for."""
    oldest = images.aggregate(
        [
            {"$match": claimable(systems, now)},
            {"$group": {"_id": {"$ifNull": ["$puller", None]}, "first": {"$min": "$_id"}}},
        ]
    )
    jobs = {group["_id"]: group["first"] for group in oldest}
    if len(jobs) < 2:
        return list(jobs.values())
    served = _last_served(images, jobs.keys())
    return [
        jobs[puller] for puller in sorted(jobs, key=lambda one: (served.get(one, 0.0), jobs[one]))
    ]


def _last_served(images: Images, pullers: Collection[int | None]) -> dict[int | None, float]:
    """When each was last worked for: one step in the index for each, whatever they have pulled."""
    last = images.aggregate(
        [
            {"$match": {"puller": {"$in": list(pullers)}}},
            {"$sort": {"puller": -1, "last_heartbeat": -1}},
            {"$group": {"_id": "$puller", "last": {"$first": "$last_heartbeat"}}},
        ]
    )
    return {group["_id"]: group["last"] or 0.0 for group in last}


def elect(
    agreements: collection.Collection[Document],
    role: str,
    process: str,
    *,
    until: float,
    now: float,
) -> bool:
    """Whether `process` has `role` from now on; roles that ended long ago are forgotten."""
    agreements.delete_many({"_id": {"$regex": "^role:"}, "until": {"$lt": now - _ROLES_KEPT}})
    vacant = {"$or": [{"process": process}, {"until": {"$lte": now}}]}
    terms = {"process": process, "until": until}
    try:
        agreements.update_one({"_id": f"role:{role}"} | vacant, {"$set": terms}, upsert=True)
    except DuplicateKeyError:
        return False  # it is there, and another's
    return True


def is_taken(agreements: collection.Collection[Document], role: str, now: float) -> bool:
    taken = {"_id": f"role:{role}", "until": {"$gt": now}}
    return agreements.find_one(taken, {"_id": True}) is not None
