# SPDX-License-Identifier: BSD-3-Clause
"""`shifter-admin migrate`: the gateway's records, from one home to another."""

from __future__ import annotations

import click

from shifter_cli.administration import gateway_program
from shifter_cli.administration.options import (
    Settings,
    file_option,
    gateway_config_option,
    json_option,
)

_EXAMPLES = """\
\b
Examples:
  shifter-admin migrate --check
  shifter-admin migrate --from sqlite:/var/lib/shifter/catalog.sqlite \\
      --to mongodb://shifter:PASSWORD@db1/Shifter --dry-run
  shifter-admin migrate --from mongodb://db1/Shifter \\
      --to sqlite:/var/lib/shifter/catalog.sqlite

Stop the gateway first. Without --from, or without --to, that is the catalog of imagemanager.json:
so a password need not be typed.
"""


@click.command(epilog=_EXAMPLES, short_help="Move the gateway's records to another database.")
@click.option("--from", "source", metavar="PLACE", help="Where the records are.")
@click.option("--to", "target", metavar="PLACE", help="Where they are to go.")
@click.option("--check", is_flag=True, help="Only say what an original's database needs.")
@click.option("--dry-run", is_flag=True, help="Read all, write nothing.")
@click.option("--merge", is_flag=True, help="Also where the target holds records already.")
@gateway_config_option
@file_option
@json_option
@click.pass_obj
def migrate(
    settings: Settings,
    source: str | None,
    target: str | None,
    check: bool,
    dry_run: bool,
    merge: bool,
    gateway_config: str | None,
    as_json: bool,
) -> int:
    """Copy all records from one catalog to another, by shifter-gateway on this host.

    PLACE is sqlite:FILE, or mongodb://[USER:PASSWORD@]HOST[:PORT]/DATABASE. A database of the
    original's may be used as it is, without this: name it in imagemanager.json. --check says what
    the gateway will then put right in it.
    """
    program = gateway_program.find(settings.load_if_any(), settings.path, gateway_config)
    arguments = ["migrate"]
    for option, value in (("--from", source), ("--to", target)):
        arguments += [option, value] if value else []
    words = [("--check", check), ("--dry-run", dry_run), ("--merge", merge), ("--json", as_json)]
    return program.hand_over([*arguments, *(word for word, is_set in words if is_set)])
