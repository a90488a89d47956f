# SPDX-License-Identifier: BSD-3-Clause
"""Fetching images from a registry."""

from __future__ import annotations

import click

from shifter_cli import progress, pulls
from shifter_cli.modes.options import (
    access_options,
    image_argument,
    images_argument,
    json_option,
    verbose_option,
)
from shifter_cli.session import Session


@click.command(short_help="Fetch images, and wait until they are ready.")
@verbose_option
@access_options
@json_option
@images_argument
@click.pass_obj
def pull(session: Session, image: tuple[str, ...]) -> None:
    """Have the gateway fetch images, and wait until they are ready.

    Exit status 0 when all are ready; otherwise 1, and standard error says why.
    """
    references = [session.reference(text) for text in image]
    access = session.access_lists()
    pulls.wait(
        lambda reference: session.gateway.pull(reference, access),
        references,
        progress.choose(verbose=session.verbose, as_json=session.as_json),
    )


@click.command(short_help="Have an image fetched, and do not wait.")
@verbose_option
@access_options
@image_argument
@click.pass_obj
def pullnb(session: Session, image: str) -> None:
    """Have the gateway fetch IMAGE, and do not wait."""
    reference = session.reference(image)
    record = session.gateway.pull(reference, session.access_lists())
    progress.show_once(reference, record, verbose=session.verbose)
    if failure := pulls.failure_of(reference, record):
        raise failure
