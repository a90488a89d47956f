# SPDX-License-Identifier: BSD-3-Clause
"""What users do to jobs, and jobs that change lists, in a transaction of the SQLite catalog."""

from __future__ import annotations

import dataclasses
import json
import sqlite3

from shifter_imagegw.catalog.sqlite_rows import (
    ENDED,
    NOBODYS_SQL,
    by_key,
    require_owner,
)
from shifter_imagegw.catalog.sqlite_schema import IN_FLIGHT_SQL, JOBS_SQL
from shifter_imagegw.details import ImageDetails
from shifter_imagegw.errors import PullError
from shifter_imagegw.records import Claim, ImageRecord, PullState

_ENDED_SQL = ", ".join(f"{name} = NULL" for name in ENDED)


def find_details(connection: sqlite3.Connection, system: str, image_id: str) -> ImageDetails | None:
    rows = connection.execute(
        "SELECT content, first_pull FROM details WHERE system = ? AND image_id = ?",
        (system, image_id),
    ).fetchall()
    for content, first_pull in rows:
        return dataclasses.replace(ImageDetails.from_text(content), first_pull=first_pull)
    return None


def cancel(connection: sqlite3.Connection, record: ImageRecord, reason: str, now: float) -> bool:
    ended = connection.execute(
        f"UPDATE images SET state = 'FAILURE', status_message = ?, last_pull = ?, {_ENDED_SQL}"
        f" WHERE key = ? AND state IN ({IN_FLIGHT_SQL})",
        (reason, now, record.key),
    )
    if ended.rowcount:
        return True
    kept = connection.execute(
        f"UPDATE images SET state = 'READY', status_message = 'Image ready', {_ENDED_SQL}"
        " WHERE key = ? AND state = 'EXPIRING' AND token IS NULL AND attempts = 0",
        (record.key,),
    )
    return kept.rowcount > 0


def requeue(
    connection: sqlite3.Connection, record: ImageRecord, sealed_credentials: str | None, now: float
) -> bool:
    freed = connection.execute(
        f"UPDATE images SET {NOBODYS_SQL}, attempts = 0 WHERE key = ? AND state IN ({JOBS_SQL})",
        (record.key,),
    )
    if freed.rowcount:
        return True
    failed = f"key = ? AND state = '{PullState.FAILURE.value}'"
    removal = connection.execute(
        "UPDATE images SET state = 'EXPIRING', status_message = 'EXPIRING', attempts = 0,"
        f" since = ? WHERE {failed} AND image_id IS NOT NULL",
        (now, record.key),
    )
    if removal.rowcount:
        return True
    anew = connection.execute(
        "UPDATE images SET state = 'PENDING', status_message = NULL, attempts = 0, since = ?,"
        " last_pull = ?, sealed_credentials = ?,"
        " private = CASE WHEN ? IS NULL THEN private ELSE 1 END"
        f" WHERE {failed} AND NOT EXISTS (SELECT 1 FROM images AS other"
        " WHERE other.system = images.system AND other.image_type = images.image_type"
        f" AND other.pull_tag = images.pull_tag AND other.state IN ({IN_FLIGHT_SQL}))",
        (now, now, sealed_credentials, sealed_credentials, record.key),
    )
    if not anew.rowcount:
        return False
    connection.execute("DELETE FROM told WHERE record = ?", (record.key,))
    return True


def set_acl(connection: sqlite3.Connection, claim: Claim) -> ImageRecord:
    require_owner(connection, claim)
    job = by_key(connection, claim.record.key)
    rows = connection.execute(
        "UPDATE images SET user_acl = ?, group_acl = ?"
        " WHERE image_id = ? AND system = ? AND state = 'READY' RETURNING key",
        (json.dumps(job.user_acl), json.dumps(job.group_acl), job.acl_image, job.system),
    ).fetchall()
    if not rows:
        raise PullError(
            f"cannot change who may use {job.image_type}:{job.pull_tag}: it is not on "
            f"{job.system} any more"
        )
    return by_key(connection, rows[0][0])


def finish_acl(connection: sqlite3.Connection, claim: Claim, now: float) -> None:
    require_owner(connection, claim)
    job = claim.record
    connection.execute(
        "UPDATE images SET acl_set = ? WHERE image_id = ? AND system = ? AND state = 'READY'",
        (now, job.acl_image, job.system),
    )
    connection.execute("DELETE FROM images WHERE key = ?", (job.key,))
