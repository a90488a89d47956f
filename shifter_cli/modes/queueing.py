# SPDX-License-Identifier: BSD-3-Clause
"""What the gateway is working on."""

from __future__ import annotations

import os
import shutil
import sys
import time

import click

from shifter_cli import output
from shifter_cli.errors import SeveralFailedError
from shifter_cli.gateway.records import QueuedJob
from shifter_cli.listing import queue_lines
from shifter_cli.modes.options import images_argument, json_option, verbose_option
from shifter_cli.progress.screen import Screen
from shifter_cli.session import Session
from shifter_common.errors import ShifterError

_EXAMPLES = """\
\b
Examples:
  shifterimg queue --mine
  shifterimg queue --watch
  shifterimg queue --json | jq -r '.[].image'
"""

_CANCEL_EXAMPLES = """\
\b
Examples:
  shifterimg queue --mine            what there is
  shifterimg cancel me/app:1
"""

_WATCH_SECONDS = 1.0


@click.command(short_help="List what is pulled, imported or removed.", epilog=_EXAMPLES)
@verbose_option
@json_option
@click.option("--mine", is_flag=True, help="Only what you asked for.")
@click.option("-w", "--watch", is_flag=True, help="Show it again and again, until Ctrl-C.")
@click.pass_obj
def queue(session: Session, *, mine: bool, watch: bool) -> None:
    """List the pulls, imports and removals that have not ended well: state, image.

    And, as far as the gateway tells: whom it is for, what it is if no pull, how much is done, how
    long it has taken, why it failed. Failures are shown for some minutes.
    """
    if not watch:
        jobs = _jobs(session, mine=mine)
        if session.as_json:
            output.show_json([job.wire for job in jobs])
        else:
            is_terminal = output.is_terminal(sys.stdout)
            if not jobs and is_terminal:
                output.complain("nothing is being pulled, imported or removed")
            columns = shutil.get_terminal_size().columns if is_terminal else None
            output.say_lines(queue_lines.lines(jobs, time.time(), columns))
        return
    if session.as_json or not output.is_terminal(sys.stdout):
        raise click.UsageError("--watch needs a terminal, and no --json")
    _watch(session, mine=mine)


@click.command(short_help="End a pull or an import of yours.", epilog=_CANCEL_EXAMPLES)
@verbose_option
@images_argument
@click.pass_obj
def cancel(session: Session, image: tuple[str, ...]) -> None:
    """End pulls or imports that wait or run: your own, or any for administrators.

    Whoever waits for one is told that it was cancelled, and by whom.
    """
    failures: list[ShifterError] = []
    for reference in [session.reference(text) for text in image]:
        try:
            session.gateway.cancel(reference)
        except ShifterError as error:
            failures.append(error)
        else:
            output.say(f"cancelled {reference}")
    if failures:
        raise SeveralFailedError(failures)


def _jobs(session: Session, *, mine: bool) -> list[QueuedJob]:
    jobs = session.gateway.queue()
    return [job for job in jobs if not mine or _is_mine(job)]


def _is_mine(job: QueuedJob) -> bool:
    return job.puller == os.getuid() if job.is_mine is None else job.is_mine


def _watch(session: Session, *, mine: bool) -> None:
    screen = Screen()
    try:
        while True:
            now = time.time()
            columns, rows = screen.size()
            jobs = _jobs(session, mine=mine)
            lines = queue_lines.lines(jobs, now, columns - 1)
            heading = f"{len(jobs)} in the queue at {output.local_time(now)[11:]}"
            screen.draw([line[: columns - 1] for line in [heading, *lines]][: rows - 1])
            time.sleep(_WATCH_SECONDS)
    except KeyboardInterrupt:  # how one leaves; nothing was broken off
        screen.leave()
