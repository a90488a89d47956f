# SPDX-License-Identifier: BSD-3-Clause
"""The SQLite catalog as one end of a migration."""

from __future__ import annotations

import dataclasses
import sqlite3
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from shifter_imagegw.catalog.copying import (
    Item,
    StoredDay,
    StoredDetails,
    StoredRecord,
    at_rest,
)
from shifter_imagegw.catalog.sqlite_file import SqliteFile
from shifter_imagegw.catalog.sqlite_rows import SELECT, record_of, row_of
from shifter_imagegw.catalog.sqlite_schema import IN_FLIGHT_SQL
from shifter_imagegw.errors import CatalogError
from shifter_imagegw.records import ImageRecord, Lookup, PullState, UsageCount, UsageDay

_NOT_KEPT = -1  # as a uid
_TABLES = {
    "records": "images",
    "details": "details",
    "lookups": "lookups",
    "usage days": "usage_days",
    "usage counts": "usage_counts",
}
_LARGER = (
    "lookups = max(lookups, excluded.lookups), pulls = max(pulls, excluded.pulls),"
    " failures = max(failures, excluded.failures)"
)
_LOOKUP = "user, uid, system, image_type, tag, image_id, time"


class SqliteHome:
    """`Home` on an SQLite file, which is made where something is written."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._opened: SqliteFile | None = None

    def __str__(self) -> str:
        return f"SQLite file {str(self.path)!r}"

    def close(self) -> None:
        if self._opened is not None:
            self._opened.close()

    def count(self) -> Counter[str]:
        if not self.path.exists():
            return Counter()
        with self._file().reading() as connection:
            found = Counter(
                {
                    kind: connection.execute(f"SELECT count(*) FROM {table}").fetchone()[0]
                    for kind, table in _TABLES.items()
                }
            )
        return +found

    def tags(self) -> dict[tuple[str, str, str], str]:
        with self._file().reading() as connection:
            rows = connection.execute(
                "SELECT tags.system, tags.image_type, tags.tag, images.image_id FROM tags"
                " JOIN images ON images.key = tags.record WHERE images.state = 'READY'"
            )
            return {(system, kind, tag): image_id for system, kind, tag, image_id in rows}

    def read(self, kind: str, left_out: Counter[str]) -> Iterator[Item]:
        if not self.path.exists():
            raise CatalogError(f"there is no {self}")
        if kind == "records":
            yield from self._records(left_out)
            return
        with self._file().reading() as connection:
            if kind == "details":
                for row in connection.execute(
                    "SELECT system, image_id, content, first_pull FROM details"
                ):
                    yield StoredDetails(
                        system=row[0], image_id=row[1], content=row[2], first_pull=row[3]
                    )
            elif kind == "lookups":
                names = [field.name for field in dataclasses.fields(Lookup)]
                for row in connection.execute(f"SELECT {_LOOKUP} FROM lookups ORDER BY key"):
                    yield Lookup(**dict(zip(names, row, strict=True)))
            elif kind == "usage days":
                for system, *numbers in connection.execute(
                    "SELECT system, day, images, bytes, lookups, pulls, failures FROM usage_days"
                ):
                    names = ["day", "images", "bytes", "lookups", "pulls", "failures"]
                    yield StoredDay(
                        system=system, day=UsageDay(**dict(zip(names, numbers, strict=True)))
                    )
            else:
                yield from map(_count_of, connection.execute("SELECT * FROM usage_counts"))

    def write(self, kind: str, items: Sequence[Item], *, merge: bool) -> int:
        with self._file().writing_quickly() as connection:
            return sum(_put(connection, item, merge=merge) for item in items)

    def _records(self, left_out: Counter[str]) -> Iterator[Item]:
        with self._file().reading() as connection:
            # Those that are READY first: what else has their tags has no right to them.
            rows = connection.execute(f"{SELECT} ORDER BY state != 'READY', key").fetchall()
            for row in rows:
                record = record_of(row)
                if record.state is PullState.EXPIRED:
                    left_out["records of images that are gone"] += 1
                    continue
                tags = connection.execute(
                    "SELECT image_type, tag FROM tags WHERE record = ? ORDER BY rowid",
                    (record.key,),
                ).fetchall()
                told = connection.execute(
                    "SELECT uid FROM told WHERE record = ?", (record.key,)
                ).fetchall()
                ((sealed,),) = connection.execute(
                    "SELECT sealed_credentials FROM images WHERE key = ?", (record.key,)
                )
                yield StoredRecord(
                    record=at_rest(record),
                    tags=tuple(tags),
                    told=tuple(uid for (uid,) in told),
                    sealed_credentials=sealed,
                )

    def _file(self) -> SqliteFile:
        if self._opened is None:
            self._opened = SqliteFile(self.path)
        return self._opened


def _count_of(row: tuple[Any, ...]) -> UsageCount:
    system, day, image, uid, restricted, lookups, pulls, failures = row
    return UsageCount(
        system=system, day=day, image=image, uid=None if uid == _NOT_KEPT else uid,
        restricted=bool(restricted), lookups=lookups, pulls=pulls, failures=failures,
    )  # fmt: skip


def _put(connection: sqlite3.Connection, item: Item, *, merge: bool) -> int:
    if isinstance(item, StoredRecord):
        return _put_record(connection, item)
    if isinstance(item, StoredDetails):
        return _run(
            connection, "INSERT OR IGNORE INTO details (system, image_id, content, first_pull)",
            (item.system, item.image_id, item.content, item.first_pull),
        )  # fmt: skip
    if isinstance(item, Lookup):
        row = dataclasses.astuple(item)
        if merge and _has_lookup(connection, item):
            return 0
        return _run(connection, f"INSERT INTO lookups ({_LOOKUP})", row)
    if isinstance(item, StoredDay):
        day = item.day
        return _run(
            connection,
            "INSERT INTO usage_days (system, day, images, bytes, lookups, pulls, failures)",
            (item.system, day.day, day.images, day.bytes, day.lookups, day.pulls, day.failures),
            f" ON CONFLICT DO UPDATE SET {_LARGER}, images = coalesce(images, excluded.images),"
            " bytes = coalesce(bytes, excluded.bytes)",
        )
    return _run(
        connection,
        "INSERT INTO usage_counts (system, day, image, uid, restricted, lookups, pulls, failures)",
        (
            item.system, item.day, item.image, _NOT_KEPT if item.uid is None else item.uid,
            item.restricted, item.lookups, item.pulls, item.failures,
        ),
        f" ON CONFLICT DO UPDATE SET {_LARGER}",
    )  # fmt: skip


def _run(
    connection: sqlite3.Connection, statement: str, row: Sequence[Any], conflict: str = ""
) -> int:
    marks = ", ".join("?" for _ in row)
    return connection.execute(f"{statement} VALUES ({marks}){conflict}", row).rowcount


def _has_lookup(connection: sqlite3.Connection, item: Lookup) -> bool:
    names = [name.strip() for name in _LOOKUP.split(",")]
    same = " AND ".join(f"{name} = ?" for name in names)
    rows = connection.execute(f"SELECT 1 FROM lookups WHERE {same}", dataclasses.astuple(item))
    return bool(rows.fetchall())


def _put_record(connection: sqlite3.Connection, item: StoredRecord) -> int:
    record = item.record
    key = _same(connection, record)
    is_new = key is None
    if key is None:
        values = row_of(record) | {"sealed_credentials": item.sealed_credentials}
        names, marks = ", ".join(values), ", ".join("?" for _ in values)
        cursor = connection.execute(
            f"INSERT INTO images ({names}) VALUES ({marks})", tuple(values.values())
        )
        key = cursor.lastrowid
    if record.state in (PullState.READY, PullState.EXPIRING):
        for image_type, tag in item.tags:
            connection.execute(
                "INSERT OR IGNORE INTO tags (system, image_type, tag, record) VALUES (?, ?, ?, ?)",
                (record.system, image_type, tag, key),
            )
    for uid in item.told if is_new else ():
        connection.execute("INSERT OR IGNORE INTO told (record, uid) VALUES (?, ?)", (key, uid))
    return int(is_new)


def _same(connection: sqlite3.Connection, record: ImageRecord) -> int | None:
    """The record that is there already of the same image, or the same job."""
    values: tuple[Any, ...] = (record.system, record.image_type, record.pull_tag)
    same = "system = ? AND image_type = ? AND pull_tag = ?"
    if record.state in (PullState.READY, PullState.EXPIRING):
        same = "image_id IS ? AND system = ? AND format = ? AND state IN ('READY', 'EXPIRING')"
        values = (record.image_id, record.system, record.format)
    elif record.is_in_flight:
        same += f" AND state IN ({IN_FLIGHT_SQL})"
    else:
        same += " AND state = 'FAILURE' AND puller IS ? AND last_pull IS ?"
        values = (*values, record.puller, record.last_pull)
    rows = connection.execute(f"SELECT key FROM images WHERE {same}", values).fetchall()
    return int(rows[0][0]) if rows else None
