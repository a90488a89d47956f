# SPDX-License-Identifier: BSD-3-Clause
"""What the gateway is working on."""

from __future__ import annotations

import click

from shifter_cli import output
from shifter_cli.modes.options import verbose_option
from shifter_cli.session import Session


@click.command(short_help="List the pulls that are not ready.")
@verbose_option
@click.pass_obj
def queue(session: Session) -> None:
    """List the pulls that are not ready: state, image."""
    for waiting in session.gateway.queue():
        output.say(output.queue_line(waiting))
