# SPDX-License-Identifier: BSD-3-Clause
"""The catalog of the embedded gateway: one SQLite file, shared by all of its processes."""

from __future__ import annotations

import dataclasses
import json
import secrets
import time
from collections.abc import Collection, Mapping, Sequence
from dataclasses import astuple
from datetime import timedelta
from pathlib import Path
from typing import Any

from shifter_imagegw.catalog import sqlite_jobs, sqlite_publishing
from shifter_imagegw.catalog.sqlite_file import SqliteFile
from shifter_imagegw.catalog.sqlite_rows import (
    ENDED,
    NOBODYS,
    NOBODYS_SQL,
    READY_ID,
    READY_TAG,
    SELECT,
    UNTOLD,
    by_key,
    first,
    forget_ended,
    insert,
    record_of,
    require_owner,
    update,
)
from shifter_imagegw.catalog.sqlite_schema import IN_FLIGHT_SQL, JOBS_SQL
from shifter_imagegw.catalog.sqlite_usage import SqliteUsage
from shifter_imagegw.details import ImageDetails, LayerProgress
from shifter_imagegw.records import (
    Claim,
    ImageRecord,
    Lookup,
    NewPull,
    PublishedImage,
    PullState,
    Usage,
)

_LOOKUPS_KEPT = 1_000_000
_ROLES_KEPT = 3600.0  # seconds after their end

_CLAIMABLE = (
    f"state IN ({JOBS_SQL}) AND (token IS NULL OR lease_end <= ?)"
    " AND system IN (SELECT value FROM json_each(?))"
)


class SqliteCatalog(SqliteUsage):
    """The `Catalog` protocol on SQLite.

    Safe to share between threads and to carry through fork(); raises `CatalogError`.
    """

    def __init__(self, path: Path) -> None:
        self._file = SqliteFile(path)

    def close(self) -> None:
        self._file.close()

    def check(self) -> None:
        with self._file.writing() as connection:
            connection.execute("REPLACE INTO roles VALUES ('', 'check', 0)")

    # What is known

    def find_ready(self, system: str, image_type: str, tag: str) -> ImageRecord | None:
        with self._file.reading() as connection:
            return first(connection, READY_TAG, (system, image_type, tag))

    def find_ready_id(self, system: str, image_id: str, format: str) -> ImageRecord | None:
        with self._file.reading() as connection:
            return first(connection, READY_ID, (image_id, system, format))

    def find_pull(self, system: str, image_type: str, pull_tag: str) -> ImageRecord | None:
        with self._file.reading() as connection:
            return first(
                connection,
                f"{SELECT} WHERE system = ? AND image_type = ? AND pull_tag = ?"
                f" AND state != 'READY' ORDER BY state IN ({IN_FLIGHT_SQL}) DESC, key DESC LIMIT 1",
                (system, image_type, pull_tag),
            )

    def find_failure(
        self, system: str, image_type: str, pull_tag: str, uid: int
    ) -> ImageRecord | None:
        with self._file.reading() as connection:
            return first(connection, UNTOLD, (system, image_type, pull_tag, uid))

    def list_ready(self, system: str) -> list[ImageRecord]:
        return self._list("system = ? AND state = 'READY'", (system,))

    def list_queue(self, system: str, puller: int | None = None) -> list[ImageRecord]:
        queued = f"system = ? AND state IN ({JOBS_SQL}, 'FAILURE')"
        if puller is None:
            return self._list(queued, (system,))
        return self._list(f"{queued} AND puller = ?", (system, puller))

    def list_expired(self, system: str, now: float) -> list[ImageRecord]:
        expired = "system = ? AND state = 'READY' AND expiration < ?"
        return self._list(expired, (system, now))

    def usage(self, system: str, puller: int) -> Usage:
        with self._file.reading() as connection:
            ((images, total),) = connection.execute(
                "SELECT count(*), coalesce(sum(size), 0) FROM images"
                " WHERE puller = ? AND system = ? AND state = 'READY'",
                (puller, system),
            )
            return Usage(images=images, bytes=total)

    def count_queued(self, puller: int) -> int:
        with self._file.reading() as connection:
            ((queued,),) = connection.execute(
                f"SELECT count(*) FROM images WHERE puller = ? AND state IN ({IN_FLIGHT_SQL})",
                (puller,),
            )
            return int(queued)

    def count_states(self) -> Mapping[tuple[str, PullState], int]:
        with self._file.reading() as connection:
            rows = connection.execute(
                "SELECT system, state, count(*) FROM images GROUP BY system, state"
            )
            return {(system, PullState(state)): count for system, state, count in rows}

    def count_claimable(self, systems: Collection[str], now: float) -> Mapping[str, int]:
        with self._file.reading() as connection:
            rows = connection.execute(
                f"SELECT system, count(*) FROM images WHERE {_CLAIMABLE} GROUP BY system",
                (now, json.dumps(list(systems))),
            )
            return dict(rows.fetchall())

    def find_details(self, system: str, image_id: str) -> ImageDetails | None:
        with self._file.reading() as connection:
            return sqlite_jobs.find_details(connection, system, image_id)

    def list_lookups(self, system: str, limit: int) -> list[Lookup]:
        with self._file.reading() as connection:
            rows = connection.execute(
                "SELECT user, uid, system, image_type, tag, image_id, time FROM lookups"
                " WHERE system = ? ORDER BY key DESC LIMIT ?",
                (system, max(limit, 0)),
            ).fetchall()
            names = [field.name for field in dataclasses.fields(Lookup)]
            return [Lookup(**dict(zip(names, row, strict=True))) for row in reversed(rows)]

    # What is asked for

    def add_pull(self, new: NewPull, now: float) -> ImageRecord:
        name = (new.system, new.image_type, new.pull_tag)
        with self._file.writing() as connection:
            in_flight = first(
                connection,
                f"{SELECT} WHERE system = ? AND image_type = ? AND pull_tag = ?"
                f" AND state IN ({IN_FLIGHT_SQL})",
                name,
            )
            if in_flight is not None:
                return in_flight
            forget_ended(connection, new)
            return by_key(connection, insert(connection, new, now))

    def add_expire(self, record: ImageRecord, *, expired_at: float | None = None) -> None:
        with self._file.writing() as connection:
            connection.execute(
                "UPDATE images SET state = 'EXPIRING', status_message = 'EXPIRING', attempts = 0,"
                " since = ? WHERE key = ? AND state = 'READY' AND (? IS NULL OR expiration < ?)",
                (time.time(), record.key, expired_at, expired_at),
            )

    def cancel(self, record: ImageRecord, reason: str, now: float) -> bool:
        with self._file.writing() as connection:
            return sqlite_jobs.cancel(connection, record, reason, now)

    def requeue(self, record: ImageRecord, sealed_credentials: str | None, now: float) -> bool:
        with self._file.writing() as connection:
            return sqlite_jobs.requeue(connection, record, sealed_credentials, now)

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

    def purge_ended(self, system: str, before: float) -> int:
        with self._file.writing() as connection:
            cursor = connection.execute(
                "DELETE FROM images WHERE system = ? AND state IN ('FAILURE', 'EXPIRED')"
                " AND last_pull < ?",
                (system, before),
            )
            return cursor.rowcount

    def add_lookup(self, lookup: Lookup) -> None:
        with self._file.writing_quickly() as connection:
            cursor = connection.execute(
                "INSERT INTO lookups (user, uid, system, image_type, tag, image_id, time)"
                " VALUES (?, ?, ?, ?, ?, ?, ?)",
                dataclasses.astuple(lookup),
            )
            added = cursor.lastrowid or 0
            if added % 1000 == 0:
                connection.execute("DELETE FROM lookups WHERE key <= ?", (added - _LOOKUPS_KEPT,))

    # What workers do

    def claim(
        self, systems: Collection[str], worker: str, lease: timedelta, now: float
    ) -> Claim | None:
        job = (
            "SELECT first FROM (SELECT puller AS uid, min(key) AS first FROM images"
            f" WHERE {_CLAIMABLE} GROUP BY puller)"
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
                " holds = NULL,"
                f" attempts = attempts + 1 WHERE key = ({job}) RETURNING key, sealed_credentials",
                (worker, token, now + lease.total_seconds(), now, *of_systems),
            ).fetchall()
            if not rows:
                return None
            ((key, sealed_credentials),) = rows
            record = by_key(connection, key)
        return Claim(
            record=record, token=token, worker=worker, sealed_credentials=sealed_credentials
        )

    def renew(self, claim: Claim, lease: timedelta, now: float) -> None:
        self._write_as_owner(
            claim, {"lease_end": now + lease.total_seconds(), "last_heartbeat": now}
        )

    def hold(self, claim: Claim, image_id: str, now: float) -> bool:
        with self._file.writing() as connection:
            require_owner(connection, claim)
            holders = connection.execute(
                "SELECT key, lease_end FROM images WHERE system = ? AND holds = ? AND key != ?",
                (claim.record.system, image_id, claim.record.key),
            ).fetchall()
            for holder, lease_end in holders:
                if lease_end > now:
                    return False
                # Only with the hold would it go on, and change the image as its successor does.
                update(connection, holder, NOBODYS)
            update(connection, claim.record.key, {"holds": image_id})
            return True

    def report(
        self,
        claim: Claim,
        state: PullState,
        message: str,
        *,
        bytes_done: int | None = None,
        bytes_total: int | None = None,
        layers: Sequence[LayerProgress] | None = None,
    ) -> None:
        self._write_as_owner(
            claim,
            {
                "state": state.value,
                "status_message": message,
                "bytes_done": bytes_done,
                "bytes_total": bytes_total,
                "layers": None if layers is None else json.dumps([*map(astuple, layers)]),
                "last_heartbeat": time.time(),
            },
        )

    def publish(self, claim: Claim, image: PublishedImage, now: float) -> ImageRecord:
        with self._file.writing() as connection:
            return sqlite_publishing.publish(connection, claim, image, now)

    def set_acl(self, claim: Claim) -> ImageRecord:
        with self._file.writing() as connection:
            return sqlite_jobs.set_acl(connection, claim)

    def finish_acl(self, claim: Claim, now: float) -> None:
        with self._file.writing() as connection:
            sqlite_jobs.finish_acl(connection, claim, now)

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
            | ENDED,
        )

    def finish_expire(self, claim: Claim) -> None:
        expired = {"state": PullState.EXPIRED.value, "status_message": "EXPIRED"}
        with self._file.writing() as connection:
            require_owner(connection, claim)
            update(connection, claim.record.key, expired | ENDED)
            record = claim.record
            sqlite_publishing.forget_details(connection, record.system, record.image_id)

    def give_back(self, worker: str) -> None:
        with self._file.writing() as connection:
            connection.execute(
                f"UPDATE images SET {NOBODYS_SQL},"
                " attempts = attempts - 1 WHERE token IS NOT NULL AND owner = ?",
                (worker,),
            )

    def release(self, workers: Collection[str]) -> int:
        with self._file.writing() as connection:
            cursor = connection.execute(
                f"UPDATE images SET {NOBODYS_SQL}"
                " WHERE token IS NOT NULL AND owner IN (SELECT value FROM json_each(?))",
                (json.dumps(list(workers)),),
            )
            return cursor.rowcount

    def workers(self) -> list[str]:
        with self._file.reading() as connection:
            rows = connection.execute("SELECT DISTINCT owner FROM images WHERE token IS NOT NULL")
            return [owner for (owner,) in rows]

    # What processes agree on

    def elect(self, role: str, process: str, duration: timedelta, now: float) -> bool:
        with self._file.writing() as connection:
            connection.execute("DELETE FROM roles WHERE until < ?", (now - _ROLES_KEPT,))
            cursor = connection.execute(
                "INSERT INTO roles VALUES (?, ?, ?) ON CONFLICT (role) DO UPDATE"
                " SET process = excluded.process, until = excluded.until"
                " WHERE process = excluded.process OR until <= ?",
                (role, process, now + duration.total_seconds(), now),
            )
            return cursor.rowcount > 0

    def is_taken(self, role: str, now: float) -> bool:
        with self._file.reading() as connection:
            taken = "SELECT 1 FROM roles WHERE role = ? AND until > ?"
            return connection.execute(taken, (role, now)).fetchone() is not None

    def _list(self, condition: str, parameters: tuple[Any, ...]) -> list[ImageRecord]:
        with self._file.reading() as connection:
            rows = connection.execute(f"{SELECT} WHERE {condition} ORDER BY key", parameters)
            return [record_of(row) for row in rows]

    def _write_as_owner(self, claim: Claim, values: dict[str, Any]) -> None:
        with self._file.writing() as connection:
            require_owner(connection, claim)
            update(connection, claim.record.key, values)
