# SPDX-License-Identifier: BSD-3-Clause
"""Which images there are."""

from __future__ import annotations

import os

import click

from shifter_cli import output
from shifter_cli.modes.options import json_option, verbose_option
from shifter_cli.session import Session


@click.command(short_help="List the images that are ready.")
@verbose_option
@json_option
@click.option("-l", "--long", is_flag=True, help="Show whole ids, size, expiration and puller.")
@click.option("--mine", is_flag=True, help="Only what you were the first to pull or import.")
@click.pass_obj
def images(session: Session, long: bool, mine: bool) -> None:
    """List the images that are ready.

    Columns: system, type, state, start of the id, local time of the last pull, tag; with --long:
    type, id, size, local time of the last pull, day of expiration if nobody asks for the image
    until then, who pulled it first, tag.
    """
    records = session.gateway.images()
    if mine:
        records = [record for record in records if record.puller == os.getuid()]
    if session.as_json:
        output.show_json([record.wire for record in records])
        return
    if records:
        output.say("\n".join(output.image_lines(records, long=long)))
