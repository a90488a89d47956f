# SPDX-License-Identifier: BSD-3-Clause
"""An image and a waiting pull, as the gateway describes them."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

READY = "READY"
FAILURE = "FAILURE"
MISSING = "MISSING"  # what the gateway writes for a value that it does not know yet

# The states during which a client waits; any other string ends the waiting, as in the original.
IN_FLIGHT = frozenset(
    {MISSING, "INIT", "PENDING", "PULLING", "HASHING", "EXAMINATION", "CONVERSION", "TRANSFER"}
)

_LAST_REPRESENTABLE_TIME = 253_402_300_000.0  # seconds since the epoch: the end of year 9999


@dataclasses.dataclass(frozen=True, kw_only=True)
class ImageRecord:
    """One image of a system; text that the gateway left out is empty, `last_pull` is 0.0."""

    image_id: str
    system: str
    image_type: str
    tags: tuple[str, ...]
    state: str
    last_pull: float  # seconds since the epoch
    message: str
    bytes_done: int | None
    bytes_total: int | None
    size: int | None  # of the image file, bytes
    expiration: float | None  # seconds since the epoch
    puller: int | None  # uid of who pulled or imported it first
    wire: Mapping[str, object]  # as it came

    @property
    def is_in_flight(self) -> bool:
        return self.state in IN_FLIGHT

    @classmethod
    def from_wire(cls, wire: Mapping[str, object]) -> ImageRecord:
        """Read what a gateway of any age sends: keys in any case, missing, null or of odd types."""
        fields = {key.lower(): value for key, value in wire.items()}
        return cls(
            image_id=_text(fields.get("id")),
            system=_text(fields.get("system")),
            image_type=_text(fields.get("itype")),
            tags=_tags(fields.get("tag")),
            state=_text(fields.get("status")) or MISSING,
            last_pull=_time(fields.get("last_pull")),
            message=_text(fields.get("status_message")),
            bytes_done=_count(fields.get("bytes_done")),
            bytes_total=_count(fields.get("bytes_total")),
            size=_count(fields.get("size")),
            expiration=_time(fields.get("expiration")) or None,
            puller=_count(fields.get("puller")),
            wire=wire,
        )


@dataclasses.dataclass(frozen=True)
class QueuedPull:
    """A pull that the gateway has not finished, or that failed a short while ago."""

    state: str
    tag: str


@dataclasses.dataclass(frozen=True)
class LookupRow:
    """Who looked up which image, and when."""

    user: str
    image_type: str
    tag: str
    image_id: str
    time: float  # seconds since the epoch
    wire: Mapping[str, object]

    @classmethod
    def from_wire(cls, wire: Mapping[str, object]) -> LookupRow:
        return cls(
            user=_text(wire.get("user")) or str(wire.get("uid", "")),
            image_type=_text(wire.get("type")),
            tag=_text(wire.get("tag")),
            image_id=_text(wire.get("id")),
            time=_time(wire.get("time")),
            wire=wire,
        )


def _text(value: object) -> str:
    return value if isinstance(value, str) and value != MISSING else ""


def _tags(value: object) -> tuple[str, ...]:
    if isinstance(value, list):
        return tuple(tag for tag in value if isinstance(tag, str))
    tag = _text(value)
    return (tag,) if tag else ()


def _time(value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return 0.0
    return float(value) if 0 <= value < _LAST_REPRESENTABLE_TIME else 0.0


def _count(value: object) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) else None
