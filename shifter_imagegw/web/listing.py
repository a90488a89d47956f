# SPDX-License-Identifier: BSD-3-Clause
"""The list of images: which, in what order, on which page of it."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any
from urllib.parse import urlencode

from shifter_imagegw.records import ImageRecord
from shifter_imagegw.rules import accounts

PAGE_LENGTH = 50

_LONGEST_WORDS = 200  # characters
_MOST_PAGES = 1_000_000
_LAST = math.inf

SORTS: Mapping[str, tuple[str, Callable[[ImageRecord], Any]]] = {
    "newest": ("Newest first", lambda record: -(record.last_pull or 0.0)),
    "oldest": ("Oldest first", lambda record: record.last_pull or 0.0),
    "name": ("Name", lambda record: sort_name(record)),
    "largest": ("Largest first", lambda record: -(record.size or 0)),
    "expiry": ("Expires next", lambda record: record.expiration or _LAST),
}
ACCESS = ("public", "private")
MINE = "me"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Query:
    """What the visitor has asked to see; anything that makes no sense is left out."""

    words: str = ""
    image_type: str = ""
    access: str = ""
    owner: str = ""
    sort: str = "newest"
    page: int = 1

    @classmethod
    def of(cls, arguments: Mapping[str, str]) -> Query:
        sort, access = arguments.get("sort", ""), arguments.get("access", "")
        return cls(
            words=arguments.get("q", "").strip()[:_LONGEST_WORDS],
            image_type=arguments.get("type", "")[:_LONGEST_WORDS],
            access=access if access in ACCESS else "",
            owner=arguments.get("owner", "").strip()[:_LONGEST_WORDS],
            sort=sort if sort in SORTS else "newest",
            page=_page(arguments.get("page", "")),
        )

    def link(self, **changes: str | int) -> str:
        """The part of the address after `?` that asks for the same, but for the changes."""
        changed = dataclasses.replace(self, **({"page": 1} | changes))  # type: ignore[arg-type]
        named = {
            "q": changed.words,
            "type": changed.image_type,
            "access": changed.access,
            "owner": changed.owner,
            "sort": "" if changed.sort == "newest" else changed.sort,
            "page": "" if changed.page == 1 else changed.page,
        }
        return urlencode({name: value for name, value in named.items() if value})

    @property
    def is_narrow(self) -> bool:
        return bool(self.words or self.image_type or self.access or self.owner)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Listing:
    """One page of the images that were asked for."""

    rows: Sequence[ImageRecord]
    first: int  # the number of the first row, from 1
    total: int
    page: int
    pages: int
    bytes: int  # of all of them

    @property
    def last(self) -> int:
        return self.first + len(self.rows) - 1


def select(records: Iterable[ImageRecord], query: Query, own_uid: int | None) -> Listing:
    """The page of `records` that `query` asks for; the last one where there are not as many."""
    owner = _owner(query.owner, own_uid)
    words = query.words.lower().split()
    found = [
        record
        for record in records
        if (not query.image_type or record.image_type == query.image_type)
        and (not query.access or record.is_restricted == (query.access == "private"))
        and (not query.owner or (owner is not None and record.puller == owner))
        and _has(record, words)
    ]
    found.sort(key=sort_name)
    found.sort(key=SORTS[query.sort][1])
    pages = max(1, math.ceil(len(found) / PAGE_LENGTH))
    page = min(query.page, pages)
    start = (page - 1) * PAGE_LENGTH
    return Listing(
        rows=found[start : start + PAGE_LENGTH],
        first=start + 1,
        total=len(found),
        page=page,
        pages=pages,
        bytes=sum(record.size or 0 for record in found),
    )


def types_of(records: Iterable[ImageRecord]) -> list[str]:
    return sorted({record.image_type for record in records})


def sort_name(record: ImageRecord) -> tuple[str, str]:
    return (record.tags[0] if record.tags else "~", record.image_id or "")


def _owner(text: str, own_uid: int | None) -> int | None:
    """The uid that is meant; of anybody's only to those who are known themselves."""
    if own_uid is None:
        return None
    if text == MINE:
        return own_uid
    if text.isascii() and text.isdecimal() and len(text) < 11:
        return int(text)
    return accounts.uid_of(text) if text else None


def _has(record: ImageRecord, words: Sequence[str]) -> bool:
    if not words:
        return True
    names = " ".join(record.tags).lower()
    ids = f"{record.image_id} {record.digest}"
    typed = f"{record.image_type}:{names}"
    return all(word in typed or word in ids for word in words)


def _page(text: str) -> int:
    if text.isascii() and text.isdecimal() and len(text) < 8:
        return min(max(1, int(text)), _MOST_PAGES)
    return 1
