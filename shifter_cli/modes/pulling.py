# SPDX-License-Identifier: BSD-3-Clause
"""Fetching images from a registry."""

from __future__ import annotations

import click

from shifter_cli.modes.options import (
    access_options,
    image_argument,
    images_argument,
    json_option,
    quiet_option,
    verbose_option,
)
from shifter_cli.progress import forms, pulls
from shifter_cli.session import Session

_EXAMPLES = """\
\b
Examples:
  shifterimg pull ubuntu:24.04 python:3.13      both at the same time
  shifterimg pull docker://ghcr.io/org/app:1    as other tools write it
  shifterimg pull app@sha256:921882e9...        exactly this content
  shifterimg pull --group mylab mylab/app:1     for this group and you only
  shifterimg pull --quiet app:1 && sbatch job   nothing but errors
  shifterimg pull --json app:1 | jq -r .id      for programs

On a terminal, a live view of bytes and layers; elsewhere, or with -v, lines of which
the sixth word is the state. --json prints one object for each image when it is settled.
"""

_UNAWAITED_EXAMPLES = """\
\b
Examples:
  shifterimg pullnb ubuntu:24.04        begins, and ends at once
  shifterimg pull ubuntu:24.04          waits for it, or says why it failed
  shifterimg queue --mine               how far it is

Prints the state it is in; the same command again says what it is by then.
"""


@click.command(short_help="Fetch images, and wait until they are ready.", epilog=_EXAMPLES)
@verbose_option
@access_options
@json_option
@quiet_option
@images_argument
@click.pass_obj
def pull(session: Session, image: tuple[str, ...], *, quiet: bool) -> None:
    """Have the gateway fetch images, and wait until they are ready.

    Exit status 0 when all are ready; otherwise 1, and standard error says why. A pull goes on at
    the gateway when you stop waiting; the same command follows it.
    """
    references = [session.reference(text) for text in image]
    access = session.access_lists()
    pulls.wait(
        lambda reference: session.gateway.pull(reference, access),
        references,
        forms.choose(verbose=session.verbose, as_json=session.as_json, quiet=quiet),
    )


@click.command(short_help="Have an image fetched, and do not wait.", epilog=_UNAWAITED_EXAMPLES)
@verbose_option
@access_options
@image_argument
@click.pass_obj
def pullnb(session: Session, image: str) -> None:
    """Have the gateway fetch IMAGE, and do not wait."""
    reference = session.reference(image)
    record = session.gateway.pull(reference, session.access_lists())
    forms.show_once(reference, record, verbose=session.verbose)
    if failure := pulls.failure_of(reference, record):
        raise failure
