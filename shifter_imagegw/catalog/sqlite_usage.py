# SPDX-License-Identifier: BSD-3-Clause
"""The usage history in the SQLite catalog."""

from __future__ import annotations

from collections.abc import Collection

from shifter_imagegw.catalog.sqlite_file import SqliteFile
from shifter_imagegw.records import Holding, UsageCount, UsageDay, by_day

_NOT_KEPT = -1  # as a uid
_ADD = (
    "lookups = lookups + excluded.lookups, pulls = pulls + excluded.pulls,"
    " failures = failures + excluded.failures"
)


class SqliteUsage:
    """Those methods of the `Catalog` protocol that are about usage over time."""

    _file: SqliteFile

    def holdings(self, system: str) -> list[Holding]:
        with self._file.reading() as connection:
            rows = connection.execute(
                "SELECT puller, count(*), coalesce(sum(size), 0), max(last_pull) FROM images"
                " WHERE system = ? AND state = 'READY' GROUP BY puller",
                (system,),
            )
            return [
                Holding(uid=uid, images=images, bytes=size, last_pull=last_pull)
                for uid, images, size, last_pull in rows
            ]

    def usage_days(self, system: str, first_day: str) -> list[UsageDay]:
        with self._file.reading() as connection:
            rows = connection.execute(
                "SELECT day, images, bytes, lookups, pulls, failures FROM usage_days"
                " WHERE system = ? AND day >= ? ORDER BY day",
                (system, first_day),
            )
            return [
                UsageDay(
                    day=day, images=images, bytes=size,
                    lookups=lookups, pulls=pulls, failures=failures,
                )
                for day, images, size, lookups, pulls, failures in rows
            ]  # fmt: skip

    def usage_counts(self, system: str, first_day: str) -> list[UsageCount]:
        with self._file.reading() as connection:
            rows = connection.execute(
                "SELECT max(day), image, uid, restricted, sum(lookups), sum(pulls), sum(failures)"
                " FROM usage_counts WHERE system = ? AND day >= ? GROUP BY image, uid, restricted",
                (system, first_day),
            )
            return [
                UsageCount(
                    system=system, day=day, image=image, uid=None if uid == _NOT_KEPT else uid,
                    restricted=bool(restricted), lookups=lookups, pulls=pulls, failures=failures,
                )
                for day, image, uid, restricted, lookups, pulls, failures in rows
            ]  # fmt: skip

    def add_usage(self, counts: Collection[UsageCount]) -> None:
        with self._file.writing_quickly() as connection:
            connection.executemany(
                "INSERT INTO usage_counts"
                " (system, day, image, uid, restricted, lookups, pulls, failures)"
                f" VALUES (?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO UPDATE SET {_ADD}",
                [
                    (
                        one.system, one.day, one.image, _NOT_KEPT if one.uid is None else one.uid,
                        one.restricted, one.lookups, one.pulls, one.failures,
                    )
                    for one in counts
                ],
            )  # fmt: skip
            connection.executemany(
                "INSERT INTO usage_days (system, day, lookups, pulls, failures)"
                f" VALUES (?, ?, ?, ?, ?) ON CONFLICT DO UPDATE SET {_ADD}",
                [
                    (system, day, one.lookups, one.pulls, one.failures)
                    for (system, day), one in by_day(counts).items()
                ],
            )

    def set_stock(self, system: str, day: str, images: int, size: int) -> None:
        with self._file.writing_quickly() as connection:
            connection.execute(
                "INSERT INTO usage_days (system, day, images, bytes) VALUES (?, ?, ?, ?)"
                " ON CONFLICT DO UPDATE SET images = excluded.images, bytes = excluded.bytes",
                (system, day, images, size),
            )

    def purge_usage(self, before_day: str) -> None:
        with self._file.writing_quickly() as connection:
            connection.execute("DELETE FROM usage_days WHERE day < ?", (before_day,))
            connection.execute("DELETE FROM usage_counts WHERE day < ?", (before_day,))
