# SPDX-License-Identifier: BSD-3-Clause
"""Taking images off the system."""

from __future__ import annotations

import sys

import click

from shifter_cli import output
from shifter_cli.errors import (
    GatewayRefusalError,
    GatewayTooOldError,
    ImageNotFoundError,
    SeveralFailedError,
)
from shifter_cli.gateway.records import ImageRecord
from shifter_cli.modes.options import image_argument, images_argument, verbose_option
from shifter_cli.session import Session
from shifter_common.errors import ShifterError
from shifter_common.reference import ImageReference

_EXAMPLES = """\
\b
Examples:
  shifterimg rm me/app:1 me/app:2       asks about each
  shifterimg rm --yes custom:tool:1     asks nothing
  shifterimg images --mine --long       what there is to remove
"""

_EXPIRE_EXAMPLES = """\
\b
Examples:
  shifterimg expire ubuntu:24.04
  shifterimg expire custom:tool:1
"""

_AUTOEXPIRE_EXAMPLES = """\
\b
Examples:
  shifterimg autoexpire                     from cron, for instance
  shifterimg images --filter expires=1d     what will go by tomorrow
"""


@click.command(short_help="Remove images of yours.", epilog=_EXAMPLES)
@verbose_option
@click.option("-y", "--yes", "-f", "--force", "is_sure", is_flag=True, help="Do not ask.")
@images_argument
@click.pass_obj
def rm(session: Session, image: tuple[str, ...], *, is_sure: bool) -> None:
    """Remove images from the system: what you were the first to pull or to import.

    Administrators may remove any. An image goes with all of its names. Before it does, you are
    asked, if there is a terminal to ask at. Exit status 1 if any image could not be removed.
    """
    references = list(dict.fromkeys(session.reference(text) for text in image))
    gone: set[ImageReference] = set()  # a name may have gone with another
    failures: list[ShifterError] = []
    for reference in references:
        if reference.with_default_tag() in gone:
            continue
        try:
            gone |= _removed(session, reference, is_sure=is_sure or not _can_ask())
        except ShifterError as error:
            failures.append(error)
    if failures:
        raise SeveralFailedError(failures)


@click.command(short_help="Take an image off the system, unasked.", epilog=_EXPIRE_EXAMPLES)
@verbose_option
@image_argument
@click.pass_obj
def expire(session: Session, image: str) -> None:
    """Remove IMAGE from the system; for who pulled it and for administrators.

    As in the original: one image, no question, nothing printed. `rm` is for people.
    """
    session.gateway.expire(session.reference(image))


@click.command(
    short_help="Remove what nobody has asked for in a long time.", epilog=_AUTOEXPIRE_EXAMPLES
)
@verbose_option
@click.pass_obj
def autoexpire(session: Session) -> None:
    """Remove every image that nobody has asked for in a long time; for administrators."""
    session.gateway.autoexpire()


def _can_ask() -> bool:
    return output.is_terminal(sys.stdin) and output.is_terminal(sys.stderr)


def _removed(session: Session, reference: ImageReference, *, is_sure: bool) -> set[ImageReference]:
    """Remove an image unless the user would rather not; the names that are gone with it."""
    record = _found(session, reference)
    named = reference.with_default_tag().tag
    others = [tag for tag in record.tags if tag != named]
    also = f", which is {', '.join(others)} too" if others else ""
    size = "" if record.size is None else f" ({output.bytes_text(record.size)})"
    question = output.printable(f"Remove {reference}{size}{also}?")
    may_not = record.wire.get("may_change") is False  # as the gateway says, in its own words
    if not is_sure and not may_not and not click.confirm(question, err=True):
        output.complain(f"{reference} stays")
        return set()
    session.gateway.expire(reference, f"cannot remove {reference}")
    output.say(output.printable(f"removed {reference}{also}"))
    return {ImageReference(record.image_type, tag) for tag in record.tags}


def _found(session: Session, reference: ImageReference) -> ImageRecord:
    try:
        wire = session.gateway.inspect(reference, f"cannot remove {reference}")
        return ImageRecord.from_wire(wire)
    except GatewayTooOldError:
        return session.gateway.lookup(reference)
    except ImageNotFoundError as error:
        raise GatewayRefusalError(
            f"cannot remove {reference}: it is not on {session.config.system}, or is not for you",
            error.status,
        ) from error
