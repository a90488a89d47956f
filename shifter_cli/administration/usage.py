# SPDX-License-Identifier: BSD-3-Clause
"""`shifter-admin users` and `stats`: who has what, and who uses what."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import click

from shifter_cli import output
from shifter_cli.administration import screen
from shifter_cli.administration.options import Settings, file_option, json_option
from shifter_cli.administration.screen import show

_USERS_EXAMPLES = """\
\b
Examples:
  shifter-admin users
  shifter-admin users --sort images
  shifter-admin users --json | jq '.[] | select(.bytes > 1e12) | .name'
"""

_STATS_EXAMPLES = """\
\b
Examples:
  shifter-admin stats
  shifter-admin stats --days 365
  shifter-admin stats --json | jq '.top_users[0]'

Who looked up what is kept where Metrics is true in imagemanager.json. Who is no administrator
sees totals and public images.
"""

_MOST_BARS = 60
_Row = Mapping[str, Any]


@click.command(epilog=_USERS_EXAMPLES, short_help="List what each user's images take.")
@click.option(
    "--sort", type=click.Choice(["bytes", "images", "name", "last_pull"]), default="bytes",
    show_default=True, help="What comes first.",
)  # fmt: skip
@file_option
@json_option
@click.pass_obj
def users(settings: Settings, sort: str, as_json: bool) -> None:
    """List the users of this system: how many images, how much space, jobs on the way.

    An image counts for who was the first to pull or import it.
    """
    rows = sorted(settings.gateway().users(), key=lambda row: _order(row, sort))
    if as_json:
        output.show_json(rows)
        return
    if not rows:
        show("nobody has an image")
        return
    cells = [
        (
            screen.user(row.get("uid"), row.get("name")),
            str(row.get("images", 0)),
            output.bytes_text(row.get("bytes") or 0),
            str(row.get("in_flight", 0)),
            screen.day(row.get("last_pull")),
        )
        for row in rows
    ]
    show(screen.table(("USER", "IMAGES", "SIZE", "JOBS", "LAST PULL"), cells, right=" RRR"))
    images, size = (sum(row.get(name) or 0 for row in rows) for name in ("images", "bytes"))
    counts = [screen.counted(len(rows), "user"), screen.counted(images, "image")]
    show(", ".join([*counts, output.bytes_text(size)]))


def _order(row: _Row, sort: str) -> tuple[Any, ...]:
    name = screen.user(row.get("uid"), row.get("name"))
    if sort == "name":
        return (name,)
    return (-(row.get(sort) or 0), name)


@click.command(epilog=_STATS_EXAMPLES, short_help="Show what was used in the last days, by whom.")
@click.option(
    "--days", type=click.IntRange(1), default=30, show_default=True, metavar="N",
    help="How many days, today being the last.",
)  # fmt: skip
@click.option(
    "--top", type=click.IntRange(0), default=10, show_default=True, metavar="N",
    help="How many images and users are named, at most 20.",
)  # fmt: skip
@file_option
@json_option
@click.pass_obj
def stats(settings: Settings, days: int, top: int, as_json: bool) -> None:
    """Show how this system's images were used: lookups, pulls, failures, space, day by day (UTC).

    Each bar is a day, or several where there are more than fit.
    """
    found = settings.gateway().stats(days)
    if as_json:
        output.show_json(found)
        return
    history: Sequence[_Row] = found.get("days") or []
    totals: _Row = found.get("totals") or {}
    if history:
        show(output.printable(f"{history[0].get('day')} to {history[-1].get('day')}"))
    show("")
    for name in ("lookups", "pulls", "failures"):
        values = _per_bar([day.get(name) or 0 for day in history], sum)
        show(f"{name:<9} {screen.bars(values)} {output.printable(str(totals.get(name, 0)))}")
    for name in ("images", "bytes"):
        values = _per_bar([day.get(name) for day in history], _last_known)
        now = totals.get(name) or 0
        text = output.bytes_text(now) if name == "bytes" else str(now)
        show(f"{'size' if name == 'bytes' else name:<9} {screen.bars(values)} {text} now")
    _show_top("IMAGE", found.get("top_images"), top, with_users=True)
    _show_top("USER", found.get("top_users"), top)


def _show_top(
    heading: str, found: Sequence[_Row] | None, top: int, *, with_users: bool = False
) -> None:
    rows = [row for row in found or [] if isinstance(row, Mapping)][:top]
    if not rows:
        return
    counted = with_users and any(row.get("users") is not None for row in rows)
    cells = []
    for row in rows:
        name = row.get("image") or screen.user(row.get("uid"), row.get("name"))
        numbers = [row.get("lookups"), row.get("pulls"), row.get("failures")]
        if counted:
            numbers.append(row.get("users"))
        cells.append([*("-" if number is None else str(number) for number in numbers), str(name)])
    headings = ["LOOKUPS", "PULLS", "FAILURES", *(["USERS"] if counted else []), heading]
    show("")
    show(screen.table(headings, cells, right="RRRR"[: len(headings) - 1]))


def _per_bar(values: Sequence[Any], together: Any) -> list[Any]:  # noqa: ANN401
    """As many values as there is room for, each of so many days."""
    days = -(-len(values) // _MOST_BARS) or 1
    return [together(values[start : start + days]) for start in range(0, len(values), days)]


def _last_known(values: Sequence[Any]) -> Any:  # noqa: ANN401
    return next((value for value in reversed(values) if value is not None), None)
