# SPDX-License-Identifier: BSD-3-Clause
"""Which images there are."""

from __future__ import annotations

import shutil
import sys
import time

import click

from shifter_cli import output
from shifter_cli.listing import filters, image_list
from shifter_cli.modes.options import json_option, verbose_option
from shifter_cli.session import Session

_EXAMPLES = """\
\b
Filters, of which all must hold; commas between values mean "or":
  name=PART  name=GLOB  part of the name, or all of it with * ? [ ]
  tag=GLOB              what stands behind the last colon
  type=docker           or custom
  owner=NAME            who pulled or imported it first; owner=me
  access=private        for some only; access=public for everybody
  'size>1G' 'size<=2G'  size of the image file (k M G T; Ki Mi Gi Ti)
  older=30d newer=12h   last pulled before, or after (s m h d w, or a date)
  expires=7d            will be removed by then if nobody asks for it
  label=KEY label=KEY=VALUE
  arch=arm64  format=squashfs  id=START  digest=sha256:...

\b
Examples:
  shifterimg images ubuntu                    whatever has ubuntu in its name
  shifterimg images '*:latest' --long
  shifterimg images --mine --sort -size       what takes my space
  shifterimg images --filter owner=alice,bob --filter older=90d
  shifterimg images --filter 'size>5G' --json | jq -r '.[].id'
"""


def _sorting(_: click.Context, __: click.Parameter, value: str) -> tuple[str, bool]:
    key, reverse = value.removeprefix("-"), value.startswith("-")
    if key not in image_list.SORT_KEYS:
        known = ", ".join(image_list.SORT_KEYS)
        raise click.BadParameter(f"cannot sort by {key!r}: sort by one of {known}")
    return key, reverse


@click.command(short_help="List the images that are ready.", epilog=_EXAMPLES)
@verbose_option
@json_option
@click.option("-l", "--long", is_flag=True, help="Show size, owner, expiry, digest and more.")
@click.option("--mine", is_flag=True, help="Only what you were the first to pull or import.")
@click.option(
    "-f", "--filter", "texts", metavar="KEY=VALUE", multiple=True,
    help="Only what this holds for; see below.",
)  # fmt: skip
@click.option(
    "--sort", metavar="KEY", default="name", show_default=True, callback=_sorting,
    help=f"By {', '.join(image_list.SORT_KEYS)}; -KEY is the other way round.",
)  # fmt: skip
@click.option("-r", "--reverse", is_flag=True, help="The other way round.")
@click.argument("pattern", nargs=-1)
@click.pass_obj
def images(
    session: Session,
    pattern: tuple[str, ...],
    texts: tuple[str, ...],
    sort: tuple[str, bool],
    *,
    long: bool,
    mine: bool,
    reverse: bool,
) -> None:
    """List the images that are ready, or those that have one of the PATTERNs in their names.

    Columns: system, type, state, start of the id, local time of the last pull, name. With --long:
    type, id, size, architecture, who pulled it first, last pull, day of its removal if nobody asks
    for it until then, digest, name; on a terminal under a heading, and shortened.
    """
    conditions = filters.parse([*texts, *(["owner=me"] if mine else [])], time.time())
    if pattern:
        wanted = [filters.named(text) for text in pattern]
        conditions.append(lambda listed: any(holds(listed) for holds in wanted))
    key, is_descending = sort
    rows = image_list.rows_of(
        session.gateway.images(), conditions, key, reverse=is_descending != reverse
    )
    if session.as_json:
        output.show_json([record.wire for record in image_list.records_of(rows)])
    elif not rows and output.is_terminal(sys.stdout):
        output.complain("there is no such image; shifterimg pull IMAGE fetches one")
    elif not long:
        lines = image_list.lines(rows)
        if output.is_terminal(sys.stdout):  # blanks at the end would go on in an empty line
            lines = [line.rstrip() for line in lines]
        output.say_lines(lines)
    elif output.is_terminal(sys.stdout):
        columns = shutil.get_terminal_size().columns
        output.say_lines(image_list.terminal_lines(rows, columns))
    else:
        output.say_lines(image_list.long_lines(rows))
