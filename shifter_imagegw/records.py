# SPDX-License-Identifier: BSD-3-Clause
"""What the gateway knows about an image, and how it says so on the wire."""

from __future__ import annotations

import dataclasses
import enum
from collections.abc import Iterable, Mapping
from typing import Any

from shifter_imagegw.details import ImageDetails, LayerProgress

MISSING = "MISSING"


class PullState(enum.StrEnum):
    """Where an image is in its life; the values are those of the original's wire and database."""

    INIT = "INIT"
    PENDING = "PENDING"
    PULLING = "PULLING"
    HASHING = "HASHING"
    EXAMINATION = "EXAMINATION"
    CONVERSION = "CONVERSION"
    TRANSFER = "TRANSFER"
    READY = "READY"
    FAILURE = "FAILURE"
    EXPIRING = "EXPIRING"
    EXPIRED = "EXPIRED"


IN_FLIGHT = frozenset(
    {
        PullState.INIT,
        PullState.PENDING,
        PullState.PULLING,
        PullState.HASHING,
        PullState.EXAMINATION,
        PullState.CONVERSION,
        PullState.TRANSFER,
    }
)


class JobKind(enum.StrEnum):
    """What a job in the queue is to do; the values are those of the wire."""

    PULL = "pull"
    IMPORT = "import"
    REMOVAL = "removal"
    ACL = "acl"


@dataclasses.dataclass(frozen=True, kw_only=True)
class ImageRecord:
    """One document of the catalog: an image that is ready, or a pull on its way there.

    A record is born by a pull (`pull_tag` set, no `image_id`). When the pull ends, it becomes the
    image's record, or, where that image was there already, disappears in favour of the older one.
    A change of who may read an image is a job, and so a record, of its own, which ends with it.
    Times are seconds since the epoch.
    """

    key: str  # the catalog's own, opaque to everybody else
    system: str
    image_type: str
    pull_tag: str
    state: PullState = PullState.INIT
    image_id: str | None = None
    tags: tuple[str, ...] = ()
    format: str = "squashfs"
    architecture: str = "amd64"
    os: str = "linux"
    user_acl: tuple[int, ...] | None = ()
    group_acl: tuple[int, ...] | None = ()
    private: bool | None = None
    env: tuple[str, ...] | None = None
    entry: tuple[str, ...] | None = None
    command: tuple[str, ...] | None = None
    workdir: str | None = None
    labels: Mapping[str, str] | None = None
    last_pull: float | None = None
    last_heartbeat: float | None = None
    expiration: float | None = None
    status_message: str | None = None
    puller: int | None = None  # uid of who asked for it
    attempts: int = 0  # how often a worker has claimed it
    bytes_done: int | None = None
    bytes_total: int | None = None
    size: int | None = None  # of the image file, bytes
    digest: str | None = None  # `sha256:…` of what it was made of: a manifest, an imported file
    source_path: str | None = None  # of an import: the file or directory on the gateway's host
    source_format: str | None = None  # of an import: what the user said that is
    since: float | None = None  # when this, or its removal, was asked for
    layers: tuple[LayerProgress, ...] | None = None  # of a pull that fetches just now
    acl_image: str | None = None  # of a change of lists: the id of the image that is to get them
    acl_set: float | None = None  # when such a change of this image's lists ended

    @property
    def kind(self) -> JobKind:
        """What its job does, or did last."""
        if self.acl_image is not None:
            return JobKind.ACL
        has_failed = self.state is PullState.FAILURE
        if self.state is PullState.EXPIRING or (has_failed and self.image_id is not None):
            return JobKind.REMOVAL
        return JobKind.IMPORT if self.is_import else JobKind.PULL

    @property
    def is_import(self) -> bool:
        return self.source_path is not None

    @property
    def is_in_flight(self) -> bool:
        return self.state in IN_FLIGHT

    @property
    def is_restricted(self) -> bool:
        """Whether some may read it and others not."""
        return bool(self.private or self.user_acl or self.group_acl)

    def to_wire(self) -> dict[str, Any]:
        """The record as clients of the original know it, then what only ours read."""
        return {
            "id": _or_missing(self.image_id),
            "system": self.system,
            "itype": self.image_type,
            "tag": list(self.tags),
            "status": self.state.value,
            "userACL": _list_or_null(self.user_acl),
            "groupACL": _list_or_null(self.group_acl),
            "ENV": _or_missing(self.env),
            "ENTRY": _or_missing(self.entry),
            "WORKDIR": _or_missing(self.workdir),
            "LABELS": _or_missing(self.labels),
            # The original's client takes a JSON double only; an integer reads as 1970.
            "last_pull": MISSING if self.last_pull is None else float(self.last_pull),
            "status_message": _or_missing(self.status_message),
            "bytes_done": self.bytes_done,
            "bytes_total": self.bytes_total,
            "size": self.size,
            "digest": self.digest,
            "expiration": self.expiration,
            "private": self.private,
            "puller": self.puller,
            "format": self.format,
            "arch": self.architecture,
        }

    def layers_to_wire(self) -> dict[str, Any]:
        """How far a pull is, layer by layer."""
        layers = None if self.layers is None else [layer.to_wire() for layer in self.layers]
        return {"layers_progress": layers}


@dataclasses.dataclass(frozen=True, kw_only=True)
class NewPull:
    """What a request to pull or to import asks for."""

    system: str
    image_type: str
    pull_tag: str
    format: str
    user_acl: tuple[int, ...] = ()
    group_acl: tuple[int, ...] = ()
    puller: int | None = None
    sealed_credentials: str | None = None  # see credentials.py; gone when the pull ends
    source_path: str | None = None  # of an import
    source_format: str | None = None
    acl_image: str | None = None  # of a change of lists: the id of the image

    @property
    def private(self) -> bool | None:
        """True for what may be private, as long as the registry has not said whether it is."""
        return True if self.sealed_credentials else None


@dataclasses.dataclass(frozen=True, kw_only=True)
class Lookup:
    """One row of the metrics: who looked up what, and when."""

    user: str
    uid: int
    system: str
    image_type: str
    tag: str
    image_id: str
    time: float

    def to_wire(self) -> dict[str, Any]:
        return {
            "user": self.user,
            "uid": self.uid,
            "system": self.system,
            "type": self.image_type,
            "tag": self.tag,
            "id": self.image_id,
            "time": float(self.time),
        }


@dataclasses.dataclass(frozen=True, kw_only=True)
class Usage:
    """What one user's images take on one system."""

    images: int
    bytes: int


@dataclasses.dataclass(frozen=True, kw_only=True)
class Holding:
    """The READY images of a system that one user was the first to pull; None: nobody knows who."""

    uid: int | None
    images: int
    bytes: int
    last_pull: float | None


@dataclasses.dataclass(frozen=True, kw_only=True)
class UsageCount:
    """What happened to one image by one user's doing, on one day or on several."""

    system: str
    day: str  # 2026-12-01, in UTC; of several, the last
    image: str  # docker:ubuntu:24.04
    uid: int | None  # None: not kept
    restricted: bool  # whether the image was not for everybody
    lookups: int = 0
    pulls: int = 0  # those that ended READY, imports too
    failures: int = 0


@dataclasses.dataclass(frozen=True, kw_only=True)
class UsageDay:
    """One day of one system: what happened, and what was there when that was last looked at."""

    day: str
    images: int | None = None
    bytes: int | None = None
    lookups: int = 0
    pulls: int = 0
    failures: int = 0


def by_day(counts: Iterable[UsageCount]) -> dict[tuple[str, str], UsageDay]:
    """What happened on each day of each system, whichever image it was: by system and day."""
    days: dict[tuple[str, str], UsageDay] = {}
    for one in counts:
        before = days.get((one.system, one.day), UsageDay(day=one.day))
        days[one.system, one.day] = UsageDay(
            day=one.day,
            lookups=before.lookups + one.lookups,
            pulls=before.pulls + one.pulls,
            failures=before.failures + one.failures,
        )
    return days


@dataclasses.dataclass(frozen=True, kw_only=True)
class Claim:
    """A worker's right to work on one record until its lease ends; `token` proves it."""

    record: ImageRecord
    token: str
    worker: str
    sealed_credentials: str | None = None


@dataclasses.dataclass(frozen=True, kw_only=True)
class PublishedImage:
    """What a finished pull found out about its image."""

    image_id: str
    format: str
    architecture: str
    os: str
    private: bool
    env: tuple[str, ...] | None
    entry: tuple[str, ...] | None
    command: tuple[str, ...] | None
    workdir: str | None
    labels: Mapping[str, str] | None
    size: int
    expiration: float | None
    digest: str | None = None
    details: ImageDetails | None = None  # kept apart from the record


def _or_missing(value: Any) -> Any:  # noqa: ANN401
    if value is None:
        return MISSING
    return list(value) if isinstance(value, tuple) else value


def _list_or_null(value: tuple[int, ...] | None) -> list[int] | None:
    return None if value is None else list(value)
