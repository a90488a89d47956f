# SPDX-License-Identifier: BSD-3-Clause
"""The catalog of the embedded gateway: one SQLite file, shared by all of its processes."""

from __future__ import annotations

import json
import secrets
import sqlite3
import time
from collections.abc import Collection
from datetime import timedelta
from pathlib import Path
from typing import Any

from shifter_imagegw.catalog.sqlite_file import IN_FLIGHT_SQL, JOBS_SQL, SqliteFile
from shifter_imagegw.errors import LeaseLostError
from shifter_imagegw.records import (
    Claim,
    ImageRecord,
    NewPull,
    PublishedImage,
    PullState,
    acl_after_pull,
)

_NAMES = (
    "key", "system", "image_type", "pull_tag", "state", "image_id", "format", "architecture", "os",
    "user_acl", "group_acl", "private", "env", "entry", "command", "workdir", "labels",
    "last_pull", "last_heartbeat", "expiration", "status_message", "puller", "attempts",
    "bytes_done", "bytes_total", "size",
)  # fmt: skip
_LISTS = ("user_acl", "group_acl", "env", "entry", "command")
_SELECT = (
    "SELECT "
    + ", ".join(f"images.{name}" for name in _NAMES)
    + ", (SELECT json_group_array(tag) FROM"
    " (SELECT tag FROM tags WHERE record = images.key ORDER BY rowid)) FROM images "
)
_READY_TAG = _SELECT + (
    "JOIN tags ON tags.record = images.key"
    " WHERE tags.system = ? AND tags.image_type = ? AND tags.tag = ? AND images.state = 'READY'"
)
_READY_ID = _SELECT + "WHERE image_id = ? AND system = ? AND format = ? AND state = 'READY'"


class SqliteCatalog:
    """The `Catalog` protocol on SQLite.

    Safe to share between threads and to carry through fork(); raises `CatalogError`.
    """

    def __init__(self, path: Path) -> None:
        self._file = SqliteFile(path)

    def close(self) -> None:
        self._file.close()

    # What is known

    def find_ready(self, system: str, image_type: str, tag: str) -> ImageRecord | None:
        with self._file.reading() as connection:
            return _first(connection, _READY_TAG, (system, image_type, tag))

    def find_ready_id(self, system: str, image_id: str, format: str) -> ImageRecord | None:
        with self._file.reading() as connection:
            return _first(connection, _READY_ID, (image_id, system, format))

    def find_pull(self, system: str, image_type: str, pull_tag: str) -> ImageRecord | None:
        with self._file.reading() as connection:
            return _first(
                connection,
                f"{_SELECT} WHERE system = ? AND image_type = ? AND pull_tag = ?"
                f" AND state != 'READY' ORDER BY state IN ({IN_FLIGHT_SQL}) DESC, key DESC LIMIT 1",
                (system, image_type, pull_tag),
            )

    def list_ready(self, system: str) -> list[ImageRecord]:
        with self._file.reading() as connection:
            rows = connection.execute(
                f"{_SELECT} WHERE system = ? AND state = 'READY' ORDER BY key", (system,)
            )
            return [_record(row) for row in rows]

    def list_queue(self, system: str) -> list[ImageRecord]:
        with self._file.reading() as connection:
            rows = connection.execute(
                f"{_SELECT} WHERE system = ? AND state IN ({JOBS_SQL}, 'FAILURE') ORDER BY key",
                (system,),
            )
            return [_record(row) for row in rows]

    # What is asked for

    def add_pull(self, new: NewPull, now: float) -> ImageRecord:
        name = (new.system, new.image_type, new.pull_tag)
        with self._file.writing() as connection:
            in_flight = _first(
                connection,
                f"{_SELECT} WHERE system = ? AND image_type = ? AND pull_tag = ?"
                f" AND state IN ({IN_FLIGHT_SQL})",
                name,
            )
            if in_flight is not None:
                return in_flight
            connection.execute(
                "DELETE FROM images WHERE system = ? AND image_type = ? AND pull_tag = ?"
                " AND state IN ('FAILURE', 'EXPIRED')",
                name,
            )
            cursor = connection.execute(
                "INSERT INTO images (system, image_type, pull_tag, state, format, architecture,"
                " os, user_acl, group_acl, last_pull, puller, sealed_credentials)"
                " VALUES (?, ?, ?, 'PENDING', ?, 'amd64', 'linux', ?, ?, ?, ?, ?)",
                (
                    *name,
                    new.format,
                    json.dumps(new.user_acl),
                    json.dumps(new.group_acl),
                    now,
                    new.puller,
                    new.sealed_credentials,
                ),
            )
            return _by_key(connection, cursor.lastrowid)

    def add_expire(self, record: ImageRecord) -> None:
        with self._file.writing() as connection:
            connection.execute(
                "UPDATE images SET state = 'EXPIRING', status_message = 'EXPIRING', attempts = 0"
                " WHERE key = ? AND state = 'READY'",
                (record.key,),
            )

    def arm_expiration(self, record: ImageRecord, expiration: float) -> None:
        with self._file.writing() as connection:
            connection.execute(
                "UPDATE images SET expiration = ?"
                " WHERE key = ? AND (expiration IS NULL OR expiration < ?)",
                (expiration, record.key, expiration),
            )

    def tell_failure(self, record: ImageRecord, uid: int) -> bool:
        with self._file.writing() as connection:
            cursor = connection.execute(
                "INSERT OR IGNORE INTO told (record, uid)"
                " SELECT key, ? FROM images WHERE key = ? AND state = 'FAILURE'",
                (uid, record.key),
            )
            return cursor.rowcount > 0

    def purge_failures(self, before: float) -> None:
        stale = "FROM images WHERE state = 'FAILURE' AND last_pull < ?"
        with self._file.reading() as connection:
            if not connection.execute(f"SELECT 1 {stale} LIMIT 1", (before,)).fetchall():
                return
        with self._file.writing() as connection:
            connection.execute(f"DELETE {stale}", (before,))

    # What workers do

    def claim(
        self, systems: Collection[str], worker: str, lease: timedelta, now: float
    ) -> Claim | None:
        job = (
            "SELECT first FROM (SELECT puller AS uid, min(key) AS first FROM images"
            f" WHERE state IN ({JOBS_SQL}) AND (token IS NULL OR lease_end <= ?)"
            " AND system IN (SELECT value FROM json_each(?)) GROUP BY puller)"
            " ORDER BY (SELECT max(last_heartbeat) FROM images WHERE puller IS uid), first LIMIT 1"
        )
        of_systems = (now, json.dumps(list(systems)))
        # Looking first costs idle workers no write lock.
        with self._file.reading() as connection:
            if not connection.execute(job, of_systems).fetchall():
                return None
        token = secrets.token_hex(16)
        with self._file.writing() as connection:
            rows = connection.execute(
                "UPDATE images SET owner = ?, token = ?, lease_end = ?, last_heartbeat = ?,"
                f" attempts = attempts + 1 WHERE key = ({job}) RETURNING key, sealed_credentials",
                (worker, token, now + lease.total_seconds(), now, *of_systems),
            ).fetchall()
            if not rows:
                return None
            ((key, sealed_credentials),) = rows
            record = _by_key(connection, key)
        return Claim(
            record=record, token=token, worker=worker, sealed_credentials=sealed_credentials
        )

    def renew(self, claim: Claim, lease: timedelta, now: float) -> None:
        self._write_as_owner(
            claim, {"lease_end": now + lease.total_seconds(), "last_heartbeat": now}
        )

    def report(
        self,
        claim: Claim,
        state: PullState,
        message: str,
        *,
        bytes_done: int | None = None,
        bytes_total: int | None = None,
    ) -> None:
        self._write_as_owner(
            claim,
            {
                "state": state.value,
                "status_message": message,
                "bytes_done": bytes_done,
                "bytes_total": bytes_total,
                "last_heartbeat": time.time(),
            },
        )

    def publish(self, claim: Claim, image: PublishedImage, now: float) -> ImageRecord:
        with self._file.writing() as connection:
            _require_owner(connection, claim)
            pull = _by_key(connection, claim.record.key)
            place = (pull.system, pull.image_type, pull.pull_tag)
            same = _first(connection, _READY_ID, (image.image_id, pull.system, image.format))
            existing = same or _first(connection, _READY_TAG, place)
            acl = acl_after_pull(pull, private=image.private, existing=existing)
            # What was expired, or is about to be, is here again; who is removing it loses the job.
            connection.execute(
                "DELETE FROM images WHERE image_id = ? AND system = ? AND format = ?"
                " AND state != 'READY' AND key != ?",
                (image.image_id, pull.system, image.format, pull.key),
            )
            if same is not None:
                connection.execute("DELETE FROM images WHERE key = ?", (pull.key,))
            record = same or pull
            values = _columns_of(image) | {
                "state": PullState.READY.value,
                "status_message": "Image ready",
                "user_acl": json.dumps(acl.users),
                "group_acl": json.dumps(acl.groups),
                "last_pull": now,
                "last_heartbeat": now,
                "expiration": _later(record.expiration, image.expiration),
                "puller": pull.puller if record.puller is None else record.puller,
            }
            _update(connection, record.key, values | _NOBODYS)
            connection.execute(
                "DELETE FROM tags WHERE system = ? AND image_type = ? AND tag = ? AND record != ?",
                (*place, record.key),
            )
            connection.execute(
                "INSERT OR IGNORE INTO tags (system, image_type, tag, record) VALUES (?, ?, ?, ?)",
                (*place, record.key),
            )
            return _by_key(connection, record.key)

    def fail(self, claim: Claim, reason: str) -> None:
        now = time.time()
        self._write_as_owner(
            claim,
            {
                "state": PullState.FAILURE.value,
                "status_message": reason,
                "last_pull": now,
                "last_heartbeat": now,
            }
            | _NOBODYS,
        )

    def finish_expire(self, claim: Claim) -> None:
        self._write_as_owner(
            claim,
            {"state": PullState.EXPIRED.value, "status_message": "EXPIRED"} | _NOBODYS,
        )

    def give_back(self, worker: str) -> None:
        with self._file.writing() as connection:
            connection.execute(
                "UPDATE images SET owner = NULL, token = NULL, lease_end = NULL,"
                " attempts = attempts - 1 WHERE token IS NOT NULL AND owner = ?",
                (worker,),
            )

    def release(self, workers: Collection[str]) -> int:
        with self._file.writing() as connection:
            cursor = connection.execute(
                "UPDATE images SET owner = NULL, token = NULL, lease_end = NULL"
                " WHERE token IS NOT NULL AND owner IN (SELECT value FROM json_each(?))",
                (json.dumps(list(workers)),),
            )
            return cursor.rowcount

    def workers(self) -> list[str]:
        with self._file.reading() as connection:
            rows = connection.execute("SELECT DISTINCT owner FROM images WHERE token IS NOT NULL")
            return [owner for (owner,) in rows]

    def _write_as_owner(self, claim: Claim, values: dict[str, Any]) -> None:
        with self._file.writing() as connection:
            _require_owner(connection, claim)
            _update(connection, claim.record.key, values)


# The job has ended: it is nobody's, and the user's credentials are forgotten.
_NOBODYS: dict[str, Any] = {
    "owner": None,
    "token": None,
    "lease_end": None,
    "sealed_credentials": None,
    "bytes_done": None,
    "bytes_total": None,
}


def _require_owner(connection: sqlite3.Connection, claim: Claim) -> None:
    rows = connection.execute(
        "SELECT 1 FROM images WHERE key = ? AND token = ?", (claim.record.key, claim.token)
    ).fetchall()
    if not rows:
        raise LeaseLostError(
            f"worker {claim.worker} no longer owns the job for "
            f"{claim.record.image_type}:{claim.record.pull_tag} on {claim.record.system}"
        )


def _update(connection: sqlite3.Connection, key: str, values: dict[str, Any]) -> None:
    assignments = ", ".join(f"{name} = ?" for name in values)
    connection.execute(f"UPDATE images SET {assignments} WHERE key = ?", (*values.values(), key))


def _columns_of(image: PublishedImage) -> dict[str, Any]:
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
    }


def _json_or_null(values: tuple[str, ...] | None) -> str | None:
    return None if values is None else json.dumps(values)


def _later(one: float | None, other: float | None) -> float | None:
    known = [time_ for time_ in (one, other) if time_ is not None]
    return max(known, default=None)


def _by_key(connection: sqlite3.Connection, key: object) -> ImageRecord:
    (row,) = connection.execute(f"{_SELECT} WHERE key = ?", (key,)).fetchall()
    return _record(row)


def _first(
    connection: sqlite3.Connection, query: str, parameters: tuple[str, ...]
) -> ImageRecord | None:
    rows = connection.execute(query, parameters).fetchall()
    return _record(rows[0]) if rows else None


def _record(row: tuple[Any, ...]) -> ImageRecord:
    values = dict(zip(_NAMES, row, strict=False))
    for name in _LISTS:
        if values[name] is not None:
            values[name] = tuple(json.loads(values[name]))
    if values["labels"] is not None:
        values["labels"] = json.loads(values["labels"])
    if values["private"] is not None:
        values["private"] = bool(values["private"])
    values["key"] = str(values["key"])
    values["state"] = PullState(values["state"])
    values["tags"] = tuple(json.loads(row[-1]))
    return ImageRecord(**values)
