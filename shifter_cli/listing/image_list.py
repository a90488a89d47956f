# SPDX-License-Identifier: BSD-3-Clause
"""The listing of images: what is in it, in which order, and its lines."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

from shifter_cli import output
from shifter_cli.gateway.records import ImageRecord
from shifter_cli.listing.filters import Condition, Listed

UNTAGGED = "<none>"  # an image that lost its last tag can still be used by its id

# What a listing can be sorted by; what has no such value comes last, whichever way.
_KEYS: dict[str, Callable[[Listed], Any]] = {
    "name": lambda listed: None,  # the order of the original, which all others fall back to
    "size": lambda listed: listed.record.size,
    "pulled": lambda listed: listed.record.last_pull or None,
    "expires": lambda listed: listed.record.expiration,
    "owner": lambda listed: _owner(listed.record) if listed.record.puller is not None else None,
    "arch": lambda listed: listed.record.architecture or None,
    "type": lambda listed: listed.record.image_type,
    "id": lambda listed: listed.record.image_id,
}
SORT_KEYS = tuple(_KEYS)

_SHORT_ID = 10  # as in the plain listing


def rows_of(
    records: Iterable[ImageRecord],
    conditions: Sequence[Condition] = (),
    sort: str = "name",
    *,
    reverse: bool = False,
) -> list[Listed]:
    """One row for each name that meets all conditions; by name bytewise, without a name last."""
    rows = [Listed(record, tag) for record in records for tag in sorted(record.tags) or [""]]
    rows = [row for row in rows if all(holds(row) for holds in conditions)]
    rows.sort(key=lambda row: (row.tag.encode("utf-8", "replace"), row.record.image_id))
    if sort == "name":
        if reverse:
            rows.reverse()
        return [row for row in rows if row.tag] + [row for row in rows if not row.tag]
    key = _KEYS[sort]
    known = [row for row in rows if key(row) is not None]
    known.sort(key=key, reverse=reverse)
    return known + [row for row in rows if key(row) is None]


def records_of(rows: Iterable[Listed]) -> list[ImageRecord]:
    """Each image once, in the order of its first name."""
    return list({id(row.record): row.record for row in rows}.values())


def lines(rows: Iterable[Listed]) -> list[str]:
    """The original's columns."""
    return [_line(row) for row in rows]


def long_lines(rows: Sequence[Listed]) -> list[str]:
    """Whole ids, times and digests, for programs and for who pages through them."""
    return output.table([_long_cells(row) for row in rows], right=(_LONG_SIZE,))


def terminal_lines(rows: Sequence[Listed], columns: int) -> list[str]:
    """The same for a terminal: under a heading, and shortened to what a line has room for."""
    table = [list(_TITLES), *(_short_cells(row) for row in rows)]
    if columns < _ROOM_FOR_DIGEST:
        for cells in table:
            del cells[_DIGEST]
    return output.table(table, right=(_TITLES.index("SIZE"),))


_LONG_SIZE = 2  # the column
_TITLES = ("ID", "SIZE", "ARCH", "OWNER", "PULLED", "EXPIRES", "DIGEST", "IMAGE")
_DIGEST = _TITLES.index("DIGEST")
_ROOM_FOR_DIGEST = 100


def _line(row: Listed) -> str:
    record = row.record
    when = output.local_time(record.last_pull)
    return output.printable(
        f"{record.system:<10} {record.image_type:<10} {record.state:<8} "
        f"{record.image_id[:10]}   {when} {row.tag or UNTAGGED:<30}"
    )


def _long_cells(row: Listed) -> list[str]:
    record = row.record
    return [
        record.image_type,
        record.image_id,
        _size(record),
        record.architecture or "-",
        _owner(record),
        output.local_time(record.last_pull),
        _day(record.expiration),
        record.digest or "-",
        row.tag or UNTAGGED,
    ]


def _short_cells(row: Listed) -> list[str]:
    record = row.record
    return [
        record.image_id[:_SHORT_ID],
        _size(record),
        record.architecture or "-",
        _owner(record),
        _day(record.last_pull),
        _day(record.expiration),
        record.digest.partition(":")[2][:_SHORT_ID] or "-",
        f"{record.image_type}:{row.tag}" if row.tag else UNTAGGED,
    ]


def _size(record: ImageRecord) -> str:
    return "-" if record.size is None else output.bytes_text(record.size)


def _day(seconds: float | None) -> str:
    return output.local_time(seconds)[:10] if seconds else "-"


def _owner(record: ImageRecord) -> str:
    return "-" if record.puller is None else output.user_name(record.puller)
