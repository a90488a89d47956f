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
    turns = sorted((_last_served(images, puller), job) for puller, job in jobs.items())
    return [job for _, job in turns]


def _last_served(images: Images, puller: int | None) -> float:
    last = images.find_one(
        {"puller": puller}, {"last_heartbeat": True}, sort=[("last_heartbeat", -1)]
    )
    return (last and last.get("last_heartbeat")) or 0.0
