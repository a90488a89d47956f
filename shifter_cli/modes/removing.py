# SPDX-License-Identifier: BSD-3-Clause
"""Taking images off the system."""

from __future__ import annotations

import click

from shifter_cli.modes.options import image_argument, verbose_option
from shifter_cli.session import Session


@click.command(short_help="Take an image off the system.")
@verbose_option
@image_argument
@click.pass_obj
def expire(session: Session, image: str) -> None:
    """Remove IMAGE from the system; for who pulled it and for administrators."""
    session.gateway.expire(session.reference(image))


@click.command(short_help="Remove what nobody has asked for in a long time.")
@verbose_option
@click.pass_obj
def autoexpire(session: Session) -> None:
    """Remove every image that nobody has asked for in a long time; for administrators."""
    session.gateway.autoexpire()
