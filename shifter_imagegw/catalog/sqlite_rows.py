# SPDX-License-Identifier: BSD-3-Clause
"""Records as rows of the SQLite catalog, and the statements that find and change them."""

from __future__ import annotations

import dataclasses
import json
import sqlite3
from typing import Any

from shifter_imagegw.details import LayerProgress
from shifter_imagegw.errors import LeaseLostError
from shifter_imagegw.records import Claim, ImageRecord, NewPull, PublishedImage, PullState

_NAMES = (
    "key", "system", "image_type", "pull_tag", "state", "image_id", "format", "architecture", "os",
    "user_acl", "group_acl", "private", "env", "entry", "command", "workdir", "labels",
    "last_pull", "last_heartbeat", "expiration", "status_message", "puller", "attempts",
    "bytes_done", "bytes_total", "size", "digest", "source_path", "source_format",
    "since", "layers", "acl_image", "acl_set",
)  # fmt: skip
_LISTS = ("user_acl", "group_acl", "env", "entry", "command")
SELECT = (
    "SELECT "
    + ", ".join(f"images.{name}" for name in _NAMES)
    + ", (SELECT json_group_array(tag) FROM"
    " (SELECT tag FROM tags WHERE record = images.key ORDER BY rowid)) FROM images "
)
READY_TAG = SELECT + (
    "JOIN tags ON tags.record = images.key"
    " WHERE tags.system = ? AND tags.image_type = ? AND tags.tag = ? AND images.state = 'READY'"
)
READY_ID = SELECT + "WHERE image_id = ? AND system = ? AND format = ? AND state = 'READY'"

UNTOLD = SELECT + (
    "WHERE system = ? AND image_type = ? AND pull_tag = ? AND puller = ? AND state = 'FAILURE'"
    " AND image_id IS NULL"
    " AND NOT EXISTS (SELECT 1 FROM told WHERE record = images.key AND uid = puller)"
    " ORDER BY key DESC LIMIT 1"
)

# A job is nobody's: no worker's, holding no image.
NOBODYS: dict[str, Any] = dict.fromkeys(("owner", "token", "lease_end", "holds"))
# A job has ended: the user's credentials are forgotten.
ENDED = NOBODYS | dict.fromkeys(("sealed_credentials", "bytes_done", "bytes_total", "layers"))
NOBODYS_SQL = ", ".join(f"{name} = NULL" for name in NOBODYS)


def require_owner(connection: sqlite3.Connection, claim: Claim) -> None:
    rows = connection.execute(
        "SELECT 1 FROM images WHERE key = ? AND token = ?", (claim.record.key, claim.token)
    ).fetchall()
    if not rows:
        raise LeaseLostError(
            f"worker {claim.worker} no longer owns the job for "
            f"{claim.record.image_type}:{claim.record.pull_tag} on {claim.record.system}"
        )


def update(connection: sqlite3.Connection, key: str, values: dict[str, Any]) -> None:
    assignments = ", ".join(f"{name} = ?" for name in values)
    connection.execute(f"UPDATE images SET {assignments} WHERE key = ?", (*values.values(), key))


def columns_of(image: PublishedImage) -> dict[str, Any]:
    return {
        "image_id": image.image_id,
        "format": image.format,
        "architecture": image.architecture,
        "os": image.os,
        "private": image.private,
        "env": _json_or_null(image.env),
        "entry": _json_or_null(image.entry),
        "command": _json_or_null(image.command),
        "workdir": image.workdir,
        "labels": None if image.labels is None else json.dumps(dict(image.labels)),
        "size": image.size,
        "digest": image.digest,
    }


def _json_or_null(values: tuple[str, ...] | None) -> str | None:
    return None if values is None else json.dumps(values)


def later(one: float | None, other: float | None) -> float | None:
    known = [time_ for time_ in (one, other) if time_ is not None]
    return max(known, default=None)


def by_key(connection: sqlite3.Connection, key: object) -> ImageRecord:
    (row,) = connection.execute(f"{SELECT} WHERE key = ?", (key,)).fetchall()
    return record_of(row)


def forget_ended(connection: sqlite3.Connection, new: NewPull) -> None:
    """Remove what a new pull makes history: not what another puller still has to be told."""
    connection.execute(
        "DELETE FROM images WHERE system = ? AND image_type = ? AND pull_tag = ?"
        " AND (state = 'EXPIRED' OR state = 'FAILURE'"
        " AND (image_id IS NOT NULL OR puller IS NULL OR puller IS ?"
        " OR EXISTS (SELECT 1 FROM told WHERE record = images.key AND uid = puller)))",
        (new.system, new.image_type, new.pull_tag, new.puller),
    )


def insert(connection: sqlite3.Connection, new: NewPull, now: float) -> int:
    """Put a pull in; its key."""
    cursor = connection.execute(
        "INSERT INTO images (system, image_type, pull_tag, state, format, architecture,"
        " os, private, user_acl, group_acl, last_pull, puller, sealed_credentials,"
        " source_path, source_format, since, acl_image)"
        " VALUES (?, ?, ?, 'PENDING', ?, 'amd64', 'linux', ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        (
            new.system,
            new.image_type,
            new.pull_tag,
            new.format,
            new.private,
            json.dumps(new.user_acl),
            json.dumps(new.group_acl),
            now,
            new.puller,
            new.sealed_credentials,
            new.source_path,
            new.source_format,
            now,
            new.acl_image,
        ),
    )
    assert cursor.lastrowid is not None
    return cursor.lastrowid


def first(
    connection: sqlite3.Connection, query: str, parameters: tuple[str | int, ...]
) -> ImageRecord | None:
    rows = connection.execute(query, parameters).fetchall()
    return record_of(rows[0]) if rows else None


def row_of(record: ImageRecord) -> dict[str, Any]:
    """A record as the columns of its row; `key` is the file's own."""
    values: dict[str, Any] = {name: getattr(record, name) for name in _NAMES if name != "key"}
    for name in _LISTS:
        values[name] = None if values[name] is None else json.dumps(values[name])
    if record.labels is not None:
        values["labels"] = json.dumps(dict(record.labels))
    if record.layers is not None:
        values["layers"] = json.dumps([dataclasses.astuple(layer) for layer in record.layers])
    return values | {"state": record.state.value}


def record_of(row: tuple[Any, ...]) -> ImageRecord:
    values = dict(zip(_NAMES, row, strict=False))
    for name in _LISTS:
        if values[name] is not None:
            values[name] = tuple(json.loads(values[name]))
    if values["labels"] is not None:
        values["labels"] = json.loads(values["labels"])
    if values["layers"] is not None:
        values["layers"] = tuple(LayerProgress(*layer) for layer in json.loads(values["layers"]))
    if values["private"] is not None:
        values["private"] = bool(values["private"])
    values["key"] = str(values["key"])
    values["state"] = PullState(values["state"])
    values["tags"] = tuple(json.loads(row[-1]))
    return ImageRecord(**values)
