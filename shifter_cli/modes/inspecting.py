# SPDX-License-Identifier: BSD-3-Clause
"""All that is known of an image."""

from __future__ import annotations

import shutil
import sys

import click

from shifter_cli import inspection, output
from shifter_cli.inspection import Inspection
from shifter_cli.modes.options import images_argument, json_option, verbose_option
from shifter_cli.session import Session

_EXAMPLES = """\
\b
Examples:
  shifterimg inspect ubuntu:24.04
  shifterimg inspect --field env ubuntu:24.04      its items, a line each
  shifterimg inspect --field label.version app:1   one label
  shifterimg inspect --json app:1 app:2            one object a line

\b
Fields: access, arch, author, cmd, created, digest, entrypoint, env, expires,
first-pull, format, history, id, label.NAME, labels, last-pull, layers, names,
os, owner, path, size, type, workdir.
"""


@click.command(short_help="Show all that is known of an image.", epilog=_EXAMPLES)
@verbose_option
@json_option
@click.option("--field", metavar="NAME", help="Print this value only; nothing if there is none.")
@images_argument
@click.pass_obj
def inspect(session: Session, image: tuple[str, ...], field: str | None) -> None:
    """Show what images are made of and start, who may use them, who pulled them, where they are.

    Looking keeps no image from expiring. On a terminal, the steps of a build are cut to its width.
    """
    if field is not None:
        inspection.require_field(field)
    references = [session.reference(text) for text in image]
    for number, reference in enumerate(references):
        seen = Inspection.from_wire(reference, session.gateway.inspect(reference))
        if session.as_json:
            output.show_json(seen.wire)
        elif field is not None:
            output.say_lines([output.printable(x) for x in inspection.field_lines(seen, field)])
        else:
            output.say_lines(["", *_text(seen)] if number else _text(seen))


def _text(seen: Inspection) -> list[str]:
    columns = shutil.get_terminal_size().columns if output.is_terminal(sys.stdout) else None
    return [output.printable(line) for line in inspection.text_lines(seen, columns)]
