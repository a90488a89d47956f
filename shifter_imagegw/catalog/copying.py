# SPDX-License-Identifier: BSD-3-Clause
"""What is carried from one home of the catalog to another, and what both homes do for that.

A home is read while no gateway uses it. What is written is what the other home would have written
itself; jobs under way begin anew there.
"""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Protocol

from shifter_imagegw.records import ImageRecord, Lookup, PullState, UsageCount, UsageDay


@dataclasses.dataclass(frozen=True, kw_only=True)
class StoredRecord:
    """A record with all that the catalog keeps of it, its worker's lease excepted."""

    record: ImageRecord
    tags: tuple[tuple[str, str], ...]  # image type and tag
    told: tuple[int, ...] = ()  # who has heard of a failure
    sealed_credentials: str | None = None


@dataclasses.dataclass(frozen=True, kw_only=True)
class StoredDetails:
    """What is told of an image when somebody inspects it."""

    system: str
    image_id: str
    content: str
    first_pull: float | None


@dataclasses.dataclass(frozen=True, kw_only=True)
class StoredDay:
    """A day of a system's usage history."""

    system: str
    day: UsageDay


Item = StoredRecord | StoredDetails | Lookup | StoredDay | UsageCount

# In this order they are carried.
KINDS: tuple[tuple[str, type[Item]], ...] = (
    ("records", StoredRecord),
    ("details", StoredDetails),
    ("lookups", Lookup),
    ("usage days", StoredDay),
    ("usage counts", UsageCount),
)


class Home(Protocol):
    """A catalog as a migration sees it. Raises `CatalogError`."""

    def __str__(self) -> str:
        """What it is, for people: without a password."""

    def close(self) -> None:
        """Let go of connections and files."""

    def count(self) -> Counter[str]:
        """How many there are of each kind; nothing where it is not there yet."""

    def read(self, kind: str, left_out: Counter[str]) -> Iterator[Item]:
        """All of one kind; `left_out` counts, in words, what has no place in another home."""

    def write(self, kind: str, items: Sequence[Item], *, merge: bool) -> int:
        """Add items, how many; with `merge`, what is there already stays as it is.

        Of two histories of one day the larger numbers count, so that to do it twice is to do it
        once.
        """

    def tags(self) -> dict[tuple[str, str, str], str]:
        """Which image each name means: system, type and tag, and the image's id."""


def at_rest(record: ImageRecord) -> ImageRecord:
    """A record without what belongs to the worker that is at it."""
    if record.state is PullState.READY or record.state is PullState.FAILURE:
        return dataclasses.replace(record, bytes_done=None, bytes_total=None, layers=None)
    state = PullState.PENDING if record.is_in_flight else record.state
    return dataclasses.replace(
        record,
        state=state,
        status_message=state.value,
        attempts=0,
        bytes_done=None,
        bytes_total=None,
        layers=None,
    )
