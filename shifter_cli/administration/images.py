# SPDX-License-Identifier: BSD-3-Clause
"""`shifter-admin images`: every image of the system, whoever it is for."""

from __future__ import annotations

import fnmatch
import time
from collections.abc import Callable, Mapping
from typing import Any

import click

from shifter_cli import output
from shifter_cli.administration import screen
from shifter_cli.administration.options import Settings, file_option, json_option
from shifter_cli.administration.screen import show
from shifter_cli.gateway.records import ImageRecord

_EXAMPLES = """\
\b
Examples:
  shifter-admin images
  shifter-admin images 'ubuntu*' --larger 5G
  shifter-admin images --owner alice --sort size
  shifter-admin images --expires-within 7
  shifter-admin images --private --json | jq -r '.[].tag[]'

ACCESS: all, or how many users and groups may use it.
"""

_UNITS = {"": 1, "K": 1e3, "M": 1e6, "G": 1e9, "T": 1e12}
_DAY = 86400.0

_SORTS: Mapping[str, Callable[[ImageRecord], Any]] = {
    "name": lambda record: _name(record),
    "size": lambda record: -(record.size or 0),
    "owner": lambda record: (record.puller is None, _owner(record), _name(record)),
    "expiry": lambda record: record.expiration or float("inf"),
    "pulled": lambda record: -record.last_pull,
}


def _size(ctx: click.Context, param: click.Parameter, value: str | None) -> float | None:
    if value is None:
        return None
    text = value.strip().upper().removesuffix("B").removesuffix("I")
    number, unit = (text[:-1], text[-1]) if text[-1:].isalpha() else (text, "")
    try:
        return float(number) * _UNITS[unit]
    except (KeyError, ValueError):
        words = f"{value!r} is no size: write it as 500M or 1.5G"
        raise click.BadParameter(words, ctx, param) from None


@click.command(epilog=_EXAMPLES, short_help="List all images: owner, size, expiry, access.")
@click.argument("pattern", required=False)
@click.option("--owner", metavar="USER", help="Those that USER (name or uid) was first to pull.")
@click.option("--larger", callback=_size, metavar="SIZE", help="Those of at least that size.")
@click.option(
    "--expires-within", type=click.FloatRange(0), metavar="DAYS",
    help="Those that go within so many days unless somebody asks for them; 0: overdue.",
)  # fmt: skip
@click.option("--private", "only_private", is_flag=True, help="Those that are not for everybody.")
@click.option(
    "--sort", type=click.Choice(list(_SORTS)), default="name", show_default=True,
    help="What comes first.",
)  # fmt: skip
@file_option
@json_option
@click.pass_obj
def images(
    settings: Settings,
    pattern: str | None,
    owner: str | None,
    larger: float | None,
    expires_within: float | None,
    only_private: bool,
    sort: str,
    as_json: bool,
) -> None:
    """List the images of this system, with who pulled them first and who may use them.

    PATTERN is part of a name, or has * and ? in it. Administrators see all images, others those
    that they may use.
    """
    records = [
        record
        for record in settings.gateway().images()
        if _is_named(record, pattern)
        and (owner is None or owner in (str(record.puller), _owner(record)))
        and (larger is None or (record.size or 0) >= larger)
        and (expires_within is None or _expires_within(record, expires_within))
        and (not only_private or _is_restricted(record))
    ]
    records.sort(key=_SORTS[sort])
    if as_json:
        output.show_json([record.wire for record in records])
        return
    if not records:
        show("no such image" if pattern or owner else "no image")
        return
    cells = [
        (
            _owner(record),
            "-" if record.size is None else output.bytes_text(record.size),
            screen.day(record.last_pull),
            screen.day(record.expiration),
            _access(record),
            " ".join(sorted(record.tags)) or f"id:{record.image_id[:12]}",
        )
        for record in records
    ]
    headings = ("OWNER", "SIZE", "PULLED", "EXPIRES", "ACCESS", "IMAGE")
    show(screen.table(headings, cells, right=" R"))
    total = sum(record.size or 0 for record in records)
    show(f"{screen.counted(len(records), 'image')}, {output.bytes_text(total)}")


def _name(record: ImageRecord) -> str:
    return min(record.tags, default=record.image_id)


def _owner(record: ImageRecord) -> str:
    return "-" if record.puller is None else screen.user(record.puller)


def _is_named(record: ImageRecord, pattern: str | None) -> bool:
    if pattern is None:
        return True
    names = [*record.tags, *(f"{record.image_type}:{tag}" for tag in record.tags), record.image_id]
    if any(sign in pattern for sign in "*?["):
        return any(fnmatch.fnmatchcase(name, pattern) for name in names)
    return any(pattern in name for name in names)


def _expires_within(record: ImageRecord, days: float) -> bool:
    return record.expiration is not None and record.expiration < time.time() + days * _DAY


def _is_restricted(record: ImageRecord) -> bool:
    return bool(record.wire.get("private") or _ids(record, "userACL") or _ids(record, "groupACL"))


def _access(record: ImageRecord) -> str:
    if not _is_restricted(record):
        return "all"
    users, groups = len(_ids(record, "userACL")), len(_ids(record, "groupACL"))
    words = [f"{count} {kind}" for count, kind in ((users, "u"), (groups, "g")) if count]
    return " ".join(words) or "owner"


def _ids(record: ImageRecord, name: str) -> list[object]:
    value = record.wire.get(name)
    return value if isinstance(value, list) else []
