# SPDX-License-Identifier: BSD-3-Clause
"""The gateway's pages, for the user's browser."""

from __future__ import annotations

import time

import click

from shifter_cli import output
from shifter_cli.modes.options import json_option, verbose_option
from shifter_cli.session import Session

_EXAMPLES = """\
\b
Examples:
  shifterimg web                  prints a link; open it in your browser
  shifterimg web --open           opens it in the browser of this machine
"""


@click.command(short_help="Get a link to the gateway's web page.", epilog=_EXAMPLES)
@verbose_option
@json_option
@click.option("--open", "opens", is_flag=True, help="Open it in the browser of this machine.")
@click.pass_obj
def web(session: Session, opens: bool) -> None:
    """Get a link that logs your browser in at the gateway's web page.

    It works once, for a short time, and shows what you may see; keep it to yourself.
    """
    link = session.gateway.web_link()
    if session.as_json:
        output.show_json({"url": link.url, "expires": link.expires})
    else:
        output.say(output.printable(link.url))
        if link.expires is not None:
            output.complain(f"it works once, {_how_long(link.expires - time.time())}")
    if opens:
        import webbrowser  # here: it looks for every browser that there may be

        if not webbrowser.open(link.url):
            output.complain("no browser could be opened: open the link yourself")


def _how_long(seconds: float) -> str:
    if seconds < 120:
        return f"within {max(0, round(seconds))} seconds"
    return f"within {round(seconds / 60)} minutes"
