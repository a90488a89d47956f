# SPDX-License-Identifier: BSD-3-Clause
"""`shifter-admin queue`, `cancel` and `requeue`: the gateway's jobs, whoever asked for them."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

import click

from shifter_cli import output
from shifter_cli.administration import screen
from shifter_cli.administration.options import Settings, file_option, json_option, yes_option
from shifter_cli.administration.screen import show, style, wrapped
from shifter_common.reference import ImageReference

_QUEUE_EXAMPLES = """\
\b
Examples:
  shifter-admin queue
  shifter-admin queue --failed
  shifter-admin queue --json | jq '.[] | select(.attempts > 1)'

On a host of the gateway, `shifter-gateway status` names the workers that are at it.
"""

_CANCEL_EXAMPLES = """\
\b
Examples:
  shifter-admin cancel docker:alice/huge:1
  shifter-admin cancel custom:tool:1 --yes
"""

_REQUEUE_EXAMPLES = """\
\b
Examples:
  shifter-admin requeue docker:alice/tool:1
"""

_FAILED = "FAILURE"
_WAITING = ("INIT", "PENDING", "ENQUEUED")
_Row = Mapping[str, Any]


@click.command(epilog=_QUEUE_EXAMPLES, short_help="List jobs: for whom, how far, how often tried.")
@click.option("--failed", is_flag=True, help="Only those that have failed.")
@file_option
@json_option
@click.pass_obj
def queue(settings: Settings, failed: bool, as_json: bool) -> None:
    """List the pulls, imports and removals that wait, run or have failed lately, oldest first."""
    rows = settings.gateway().jobs()
    if failed:
        rows = [row for row in rows if row.get("status") == _FAILED]
    if as_json:
        output.show_json(rows)
        return
    if not rows:
        show("nothing has failed" if failed else "nothing waits, runs or has failed")
        return
    now = time.time()
    cells = [
        (
            str(row.get("status", "")),
            screen.age(None if row.get("since") is None else now - row["since"]),
            screen.user(row.get("puller"), row.get("puller_name"))
            if row.get("puller") is not None else "-",
            str(row.get("attempts") or "-"),
            _progress(row),
            _image(row),
        )
        for row in rows
    ]  # fmt: skip
    lines = screen.table(("STATE", "AGE", "USER", "TRIES", "DONE", "IMAGE"), cells, right=" R RR")
    heading, *shown = lines.split("\n")
    show(heading)
    for row, line in zip(rows, shown, strict=True):
        show(_coloured(line, row))
        if row.get("status") == _FAILED and row.get("status_message"):
            show(f"    {wrapped(str(row['status_message']), 4)}")


def _image(row: _Row) -> str:
    kind = row.get("itype")
    name = f"{kind}:{row.get('image', '')}" if kind else str(row.get("image", ""))
    return name if row.get("kind") in (None, "pull") else f"{name} ({row['kind']})"


def _progress(row: _Row) -> str:
    done, total = row.get("bytes_done"), row.get("bytes_total")
    if not total or done is None:
        return "-"
    return f"{min(done / total, 1):.0%}"


def _coloured(line: str, row: _Row) -> str:
    if row.get("status") == _FAILED:
        return style(line, "red")
    return line if row.get("status") in _WAITING else style(line, "green")


@click.command(epilog=_CANCEL_EXAMPLES, short_help="End a job that waits or runs.")
@click.argument("image", metavar="[TYPE:]IMAGE")
@yes_option
@file_option
@json_option
@click.pass_obj
def cancel(settings: Settings, image: str, yes: bool, as_json: bool) -> None:
    """End the pull or import of IMAGE that waits or runs; it fails, and says who cancelled it."""
    reference = _reference(settings, image)
    screen.confirm(f"Cancel the job for {reference}?", yes=yes)
    record = settings.gateway().cancel(reference)
    if as_json:
        output.show_json(record)
    else:
        show(f"{reference}: cancelled")


@click.command(epilog=_REQUEUE_EXAMPLES, short_help="Start a job that failed, or is stuck, again.")
@click.argument("image", metavar="[TYPE:]IMAGE")
@yes_option
@file_option
@json_option
@click.pass_obj
def requeue(settings: Settings, image: str, yes: bool, as_json: bool) -> None:
    """Put the job for IMAGE back into the queue, as its user asked for it.

    A failed one begins anew. One that runs is taken from its worker, and another begins it again.
    """
    reference = _reference(settings, image)
    screen.confirm(f"Begin the job for {reference} again?", yes=yes)
    record = settings.gateway().requeue(reference)
    if as_json:
        output.show_json(record)
    else:
        show(output.printable(f"{reference}: {record.get('status', 'asked for')}"))


def _reference(settings: Settings, text: str) -> ImageReference:
    return ImageReference.parse(text, settings.load().default_image_type).with_default_tag()
