# SPDX-License-Identifier: BSD-3-Clause
"""Who asked for which image."""

from __future__ import annotations

import click

from shifter_cli import output
from shifter_cli.modes.options import json_option, verbose_option
from shifter_cli.session import Session

_EXAMPLES = """\
\b
Examples:
  shifterimg metrics --limit 100
  shifterimg metrics --json | jq -r '.[].user' | sort | uniq -c
"""


@click.command(short_help="List the last lookups; for administrators.", epilog=_EXAMPLES)
@verbose_option
@json_option
@click.option(
    "--limit", metavar="NUMBER", type=click.IntRange(1, 10000), default=10, show_default=True,
    help="How many lookups.",
)  # fmt: skip
@click.pass_obj
def metrics(session: Session, limit: int) -> None:
    """List the last lookups: time, user, start of the id, image; for administrators."""
    rows = session.gateway.lookups(limit)
    if session.as_json:
        output.show_json([row.wire for row in rows])
        return
    for row in rows:
        output.say(output.lookup_line(row))
