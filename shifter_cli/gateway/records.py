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
    digest: str  # of what it was made of, with its algorithm
    architecture: str
    format: str
    private: bool  # whether its registry wants a login
    user_acl: tuple[int, ...]
    group_acl: tuple[int, ...]
    labels: Mapping[str, str]
    layers: tuple[LayerProgress, ...]  # of a pull in flight
    wire: Mapping[str, object]  # as it came

    @property
    def is_in_flight(self) -> bool:
        return self.state in IN_FLIGHT

    @property
    def is_restricted(self) -> bool:
        """Whether some may use it and others not."""
        return bool(self.private or self.user_acl or self.group_acl)

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
            digest=_text(fields.get("digest")),
            architecture=_text(fields.get("arch")),
            format=_text(fields.get("format")),
            private=fields.get("private") is True,
            user_acl=_counts(fields.get("useracl")),
            group_acl=_counts(fields.get("groupacl")),
            labels=_texts_by_name(fields.get("labels")),
            layers=_layers(fields.get("layers_progress")),
            wire=wire,
        )


@dataclasses.dataclass(frozen=True, kw_only=True)
class QueuedJob:
    """A pull, an import or a removal that has not ended well; what is not known is None, or ''."""

    state: str
    tag: str
    kind: str
    puller: int | None
    puller_name: str
    is_mine: bool | None
    since: float | None  # seconds since the epoch
    bytes_done: int | None
    bytes_total: int | None
    message: str
    wire: Mapping[str, object]

    @classmethod
    def from_wire(cls, wire: Mapping[str, object]) -> QueuedJob:
        is_mine = wire.get("is_mine")
        return cls(
            state=_text(wire.get("status")),
            tag=_text(wire.get("image")),
            kind=_text(wire.get("kind")),
            puller=_count(wire.get("puller")),
            puller_name=_text(wire.get("puller_name")),
            is_mine=is_mine if isinstance(is_mine, bool) else None,
            since=_time(wire.get("since")) or None,
            bytes_done=_count(wire.get("bytes_done")),
            bytes_total=_count(wire.get("bytes_total")),
            message=_text(wire.get("status_message")),
            wire=wire,
        )


@dataclasses.dataclass(frozen=True)
class LayerProgress:
    """How much of one layer has come."""

    digest: str
    done: int
    size: int | None

    @property
    def is_done(self) -> bool:
        return self.size is not None and self.done >= self.size


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


def _counts(value: object) -> tuple[int, ...]:
    items = value if isinstance(value, list) else []
    return tuple(count for item in items if (count := _count(item)) is not None)


def _texts_by_name(value: object) -> Mapping[str, str]:
    items = value.items() if isinstance(value, dict) else ()
    return {str(name): text for name, text in items if isinstance(text, str)}


def _layers(value: object) -> tuple[LayerProgress, ...]:
    layers = []
    for item in value if isinstance(value, list) else []:
        if isinstance(item, dict):
            done, size = _count(item.get("done")), _count(item.get("size"))
            layers.append(LayerProgress(_text(item.get("digest")), done or 0, size))
    return tuple(layers)
