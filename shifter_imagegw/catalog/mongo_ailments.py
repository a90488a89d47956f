# SPDX-License-Identifier: BSD-3-Clause
"""What a gateway will put right in a database when it starts, told without changing it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any

from pymongo.collection import Collection

from shifter_imagegw.catalog.mongo_publishing import READY
from shifter_imagegw.catalog.mongo_start import STALE, groups, healing_of

Document = dict[str, Any]
Images = Collection[Document]

# In the order of `STALE`.
_WORDS = (
    "tags that are one text, which become a list",
    "statuses of old releases, which get their names of today",
    "records without a format, which are squashfs",
    "records that ended at no time, which are the oldest",
    "jobs that are not marked as being in flight",
    "records that are marked as being in flight, and are not",
    "records that have ended, and still belong to a worker",
)
_GROUPS: tuple[tuple[str, Document, tuple[str, ...]], ...] = (
    (
        "second jobs of one image, which end with FAILURE",
        {"in_flight": True},
        ("system", "itype", "pulltag"),
    ),
    (
        "second records of one image, of which the newest stays",
        {"status": {"$in": [READY, "SUCCESS"]}, "id": {"$gt": ""}},
        ("system", "id"),
    ),
)


def find(images: Images) -> Counter[str]:
    """How many there are of each, in words."""
    found: Counter[str] = Counter()
    for words, condition in zip(_WORDS, STALE["$or"], strict=True):
        found[words] = images.count_documents(condition)
    for words, match, names in _GROUPS:
        found[words] = sum(len(group) - 1 for group in groups(images, match, names))
    return +found


def healed(document: Mapping[str, Any]) -> Document:
    """A document as it will be."""
    update = healing_of(document)
    gone = update.get("$unset", {})
    kept: Document = {name: value for name, value in document.items() if name not in gone}
    kept.update(update.get("$set", {}))
    return kept
