# SPDX-License-Identifier: BSD-3-Clause
"""Whose job is next: pullers take turns."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from pymongo import collection

from shifter_imagegw.catalog.mongo_documents import JOB_STATUSES

Document = dict[str, Any]
Images = collection.Collection[Document]


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
