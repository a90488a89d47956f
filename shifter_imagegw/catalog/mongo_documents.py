# SPDX-License-Identifier: BSD-3-Clause
"""Records as documents: the original's fields and types, with ours beside them.

An original gateway that reads the same database understands what we write, and we what it has
written in any of its years: a `tag` that is one text, statuses of older releases, fields that are
missing, lists that are null, fields that nobody knows.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

from bson import ObjectId

from shifter_imagegw.acl import Acl
from shifter_imagegw.catalog.mongo_tags import tags_of
from shifter_imagegw.details import LayerProgress
from shifter_imagegw.records import (
    IN_FLIGHT,
    ImageRecord,
    Lookup,
    NewPull,
    PublishedImage,
    PullState,
)

Document = dict[str, Any]

IN_FLIGHT_STATUSES = sorted(state.value for state in IN_FLIGHT)
JOB_STATUSES = [*IN_FLIGHT_STATUSES, PullState.EXPIRING.value]
STATUSES = [state.value for state in PullState]
OLD_STATUSES = {"SUCCESS": PullState.READY, "ENQUEUED": PullState.PENDING}

# A job has ended or is nobody's: no worker's, holding no image.
NOBODYS = dict.fromkeys(("owner", "token", "lease_end", "holds"), "")
# A job has ended: it is no pull in flight, and the user's credentials are forgotten.
ENDED = NOBODYS | dict.fromkeys(
    ("in_flight", "sealed_credentials", "bytes_done", "bytes_total", "layers"), ""
)

# What no record shows.
HIDDEN = dict.fromkeys(("sealed_credentials", "token", "owner", "holds", "told"), False)


def key_of(document: Mapping[str, Any]) -> str:
    return str(document["_id"])


def id_of(key: str) -> Any:  # noqa: ANN401
    """`_id` from a record's key."""
    return ObjectId(key) if ObjectId.is_valid(key) else key


def new_document(new: NewPull, now: float) -> Document:
    """A pull as the original writes it, and what only ours read."""
    document: Document = {
        "format": new.format,
        "arch": "amd64",
        "os": "linux",
        "location": "",
        "remotetype": "dockerv2",
        "ostcount": "0",
        "replication": "1",
        "userACL": list(new.user_acl),
        "groupACL": list(new.group_acl),
        "private": new.private,
        "tag": [],
        "status": PullState.PENDING.value,
        "system": new.system,
        "itype": new.image_type,
        "pulltag": new.pull_tag,
        "last_pull": now,
        "since": now,
        "in_flight": True,
        "attempts": 0,
    }
    if new.source_path is not None:
        document |= {"filepath": new.source_path, "meta": {}}
    ours = {
        "puller": new.puller,
        "sealed_credentials": new.sealed_credentials,
        "source_format": new.source_format,
        "acl_image": new.acl_image,
    }
    return document | _known(ours)


def document_of(record: ImageRecord) -> Document:
    """A record of another home as a document, but for its tags."""
    document: Document = {
        "format": record.format,
        "arch": record.architecture,
        "os": record.os,
        "location": "",
        "remotetype": "dockerv2",
        "ostcount": "0",
        "replication": "1",
        "userACL": None if record.user_acl is None else list(record.user_acl),
        "groupACL": None if record.group_acl is None else list(record.group_acl),
        "private": record.private,
        "tag": [],
        "status": record.state.value,
        "system": record.system,
        "itype": record.image_type,
        "pulltag": record.pull_tag,
        "last_pull": record.last_pull,
        "attempts": record.attempts,
    }
    if record.state is PullState.READY and not record.private and record.is_restricted:
        document["private"] = None  # see `acl_fields`
    if record.is_in_flight:
        document["in_flight"] = True
    if record.source_path is not None:
        document |= {"filepath": record.source_path, "meta": {}}
    fields = {
        "id": record.image_id,
        "ENV": _list(record.env),
        "ENTRY": _list(record.entry),
        "CMD": _list(record.command),
        "WORKDIR": record.workdir,
        "LABELS": None if record.labels is None else dict(record.labels),
        "size": record.size,
        "digest": record.digest,
        "last_heartbeat": record.last_heartbeat,
        "expiration": record.expiration,
        "status_message": record.status_message,
        "puller": record.puller,
        "source_format": record.source_format,
        "since": record.since,
        "acl_image": record.acl_image,
        "acl_set": record.acl_set,
    }
    return document | _known(fields)


def image_fields(image: PublishedImage, acl: Acl) -> tuple[Document, Document]:
    """What a finished pull sets, and what it unsets, of the image's own fields."""
    fields = {
        "id": image.image_id,
        "format": image.format,
        "arch": image.architecture,
        "os": image.os,
        "ENV": _list(image.env),
        "ENTRY": _list(image.entry),
        "CMD": _list(image.command),
        "WORKDIR": image.workdir,
        "LABELS": None if image.labels is None else dict(image.labels),
        "size": image.size,
        "digest": image.digest,
    }
    known = _known(fields)
    known |= acl_fields(acl, private=image.private)
    return known, {name: "" for name, value in fields.items() if value is None}


def acl_fields(acl: Acl, *, private: bool) -> Document:
    """Who may read an image that is READY."""
    return {
        # The original lets everybody read what is not private, whatever the lists say; null has it
        # look at the lists.
        "private": None if acl and not private else private,
        "userACL": list(acl.users),
        "groupACL": list(acl.groups),
    }


def record_of(document: Mapping[str, Any]) -> ImageRecord:
    """The record that a document of any age means; absent and null are the same."""
    state = state_of(document.get("status"))
    user_acl, group_acl = _ids(document.get("userACL")), _ids(document.get("groupACL"))
    source_path = _text(document.get("filepath"))
    format = _text(document.get("format")) or "squashfs"
    tags = tags_of(document)
    return ImageRecord(
        key=key_of(document),
        system=str(document.get("system", "")),
        image_type=str(document.get("itype", "")),
        pull_tag=_text(document.get("pulltag")) or next(iter(tags), ""),
        state=state,
        image_id=_text(document.get("id")),
        tags=tags,
        format=format,
        architecture=_text(document.get("arch")) or "amd64",
        os=_text(document.get("os")) or "linux",
        user_acl=user_acl,
        group_acl=group_acl,
        private=_private(document, state, restricted=bool(user_acl or group_acl)),
        env=_words(document.get("ENV")),
        entry=_words(document.get("ENTRY")),
        command=_words(document.get("CMD")),
        workdir=_text(document.get("WORKDIR")),
        labels=_labels(document.get("LABELS")),
        last_pull=_time(document.get("last_pull")),
        last_heartbeat=_time(document.get("last_heartbeat")),
        expiration=_time(document.get("expiration")),
        status_message=_text(document.get("status_message")),
        puller=_number(document.get("puller")),
        attempts=_number(document.get("attempts")) or 0,
        bytes_done=_number(document.get("bytes_done")),
        bytes_total=_number(document.get("bytes_total")),
        size=_number(document.get("size")),
        digest=_text(document.get("digest")),
        source_path=source_path,
        # The original knows one kind of import: a file of the format that it is to have.
        source_format=_text(document.get("source_format")) or (format if source_path else None),
        since=_time(document.get("since")),
        layers=_layers(document.get("layers")),
        acl_image=_text(document.get("acl_image")),
        acl_set=_time(document.get("acl_set")),
    )


def state_of(status: object) -> PullState:
    """A status of any release; one that nobody knows is a failure, as nothing goes on with it."""
    if status in STATUSES:
        return PullState(status)
    return OLD_STATUSES.get(str(status), PullState.FAILURE)


def lookup_of(document: Mapping[str, Any]) -> Lookup:
    return Lookup(
        user=str(document.get("user", "")),
        uid=_number(document.get("uid")) or 0,
        system=str(document.get("system", "")),
        image_type=str(document.get("type", "")),
        tag=str(document.get("tag", "")),
        image_id=str(document.get("id", "")),
        time=_time(document.get("time")) or 0.0,
    )


def removal(now: float) -> Document:
    """What asking for an image's removal sets."""
    expiring = PullState.EXPIRING.value
    return {"status": expiring, "status_message": expiring, "attempts": 0, "since": now}


def progress(state: PullState, message: str) -> Document:
    """What every word about a job sets."""
    return {"status": state.value, "status_message": message, "last_heartbeat": time.time()}


def _private(document: Mapping[str, Any], state: PullState, *, restricted: bool) -> bool | None:
    private = document.get("private")
    if private is None and restricted and state is PullState.READY:
        return False  # see `acl_fields`
    return None if private is None else bool(private)


def _known(fields: Mapping[str, Any]) -> Document:
    return {name: value for name, value in fields.items() if value is not None}


def _list(values: tuple[str, ...] | None) -> list[str] | None:
    return None if values is None else list(values)


def _text(value: object) -> str | None:
    return value if isinstance(value, str) else None


def _number(value: object) -> int | None:
    return int(value) if isinstance(value, int | float) else None


def _time(value: object) -> float | None:
    return float(value) if isinstance(value, int | float) else None


def _words(value: object) -> tuple[str, ...] | None:
    return None if value is None else tuple(map(str, _items(value)))


def _ids(value: object) -> tuple[int, ...] | None:
    return None if value is None else tuple(map(int, _items(value)))


def _items(value: object) -> list[Any]:
    """What is in a list; one alone is a list of one."""
    return value if isinstance(value, list) else [value]


def _layers(value: object) -> tuple[LayerProgress, ...] | None:
    return tuple(LayerProgress(**layer) for layer in value) if isinstance(value, list) else None


def _labels(value: object) -> dict[str, str] | None:
    if not isinstance(value, Mapping):
        return None
    return {str(name): str(label) for name, label in value.items()}
