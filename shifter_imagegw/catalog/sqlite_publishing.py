# SPDX-License-Identifier: BSD-3-Clause
"""The end of a pull, and of an image, in a transaction of the SQLite catalog."""

from __future__ import annotations

import json
import sqlite3

from shifter_imagegw.acl import acl_after_pull
from shifter_imagegw.catalog.sqlite_rows import (
    ENDED,
    READY_ID,
    READY_TAG,
    by_key,
    columns_of,
    first,
    later,
    require_owner,
    update,
)
from shifter_imagegw.records import Claim, ImageRecord, PublishedImage, PullState


def publish(
    connection: sqlite3.Connection, claim: Claim, image: PublishedImage, now: float
) -> ImageRecord:
    require_owner(connection, claim)
    pull = by_key(connection, claim.record.key)
    place = (pull.system, pull.image_type, pull.pull_tag)
    same = first(connection, READY_ID, (image.image_id, pull.system, image.format))
    existing = same or first(connection, READY_TAG, place)
    acl = acl_after_pull(pull, image_id=image.image_id, private=image.private, existing=existing)
    # What was expired, or is about to be, is here again; who is removing it loses the job.
    connection.execute(
        "DELETE FROM images WHERE image_id = ? AND system = ? AND format = ?"
        " AND state != 'READY' AND key != ?",
        (image.image_id, pull.system, image.format, pull.key),
    )
    if same is not None:
        connection.execute("DELETE FROM images WHERE key = ?", (pull.key,))
    record = same or pull
    values = columns_of(image) | {
        "state": PullState.READY.value,
        "status_message": "Image ready",
        "user_acl": json.dumps(acl.users),
        "group_acl": json.dumps(acl.groups),
        "last_pull": now,
        "last_heartbeat": now,
        "expiration": later(record.expiration, image.expiration),
        "puller": pull.puller if record.puller is None else record.puller,
    }
    update(connection, record.key, values | ENDED)
    connection.execute(
        "DELETE FROM tags WHERE system = ? AND image_type = ? AND tag = ? AND record != ?",
        (*place, record.key),
    )
    connection.execute(
        "INSERT OR IGNORE INTO tags (system, image_type, tag, record) VALUES (?, ?, ?, ?)",
        (*place, record.key),
    )
    _keep_details(connection, pull.system, image, now, is_new=same is None)
    return by_key(connection, record.key)


def forget_details(connection: sqlite3.Connection, system: str, image_id: str | None) -> None:
    """Forget what is kept of an image beside its record, unless another format of it is READY."""
    connection.execute(
        "DELETE FROM details WHERE system = ? AND image_id = ? AND NOT EXISTS (SELECT 1 FROM images"
        " WHERE images.image_id = details.image_id AND images.system = details.system"
        " AND state = 'READY')",
        (system, image_id),
    )


def _keep_details(
    connection: sqlite3.Connection, system: str, image: PublishedImage, now: float, *, is_new: bool
) -> None:
    if image.details is None:
        return
    connection.execute(
        "INSERT INTO details (system, image_id, content, first_pull) VALUES (?, ?, ?, ?)"
        " ON CONFLICT DO UPDATE SET content = excluded.content",
        (system, image.image_id, image.details.to_text(), now if is_new else None),
    )
