# SPDX-License-Identifier: BSD-3-Clause
"""Which image a name means now; what every launch by name waits for."""

from __future__ import annotations

import click

from shifter_cli import output
from shifter_cli.errors import GatewayRefusalError, GatewayUnreachableError
from shifter_cli.modes.options import image_argument, json_option, verbose_option
from shifter_cli.session import Session, is_no_answer
from shifter_common.errors import MungeError

_NO_ANSWER = 75  # EX_TEMPFAIL: the runtime then looks into the index beside the images

_EXAMPLES = """\
\b
Examples:
  shifterimg lookup ubuntu:24.04
  shifter --image=id:$(shifterimg lookup ubuntu:24.04) date
  shifterimg lookup --json ubuntu:24.04 | jq -r .id
"""


@click.command(short_help="Print the id of an image.", epilog=_EXAMPLES)
@verbose_option
@json_option
@image_argument
@click.pass_obj
def lookup(session: Session, image: str) -> int:
    """Print the id of IMAGE.

    Exit status 1, and nothing on standard output, if it is not there; 75 if no gateway answered, or
    none could be asked.
    """
    try:
        record = session.gateway.lookup(session.reference(image))
    except (GatewayUnreachableError, GatewayRefusalError, MungeError) as error:
        if not is_no_answer(error):
            raise
        output.show_errors([error], "shifterimg")
        return _NO_ANSWER
    if session.as_json:
        output.show_json(record.wire)
    else:
        output.say(output.printable(record.image_id))
    return 0
