# SPDX-License-Identifier: BSD-3-Clause
"""The command `shifter-admin`: what administrators of nodes and gateways check and look after."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NoReturn

import click

from shifter_cli import program
from shifter_cli.administration.options import AdminGroup, Settings, require_command
from shifter_cli.groups import SectionedGroup

DEFAULT_CONFIG = "/etc/shifter/udiRoot.conf"

_PROGRAM = "shifter-admin"

# Where each command is, below `administration`, by what it is for; no other is loaded.
SECTIONS = {
    "Look at this node or gateway": {
        "check": "checking.check",
        "config": "config_group.config_group",
        "addresses": "addresses.command",
    },
    "Look at the gateway's images and jobs": {
        "images": "images.images",
        "queue": "jobs.queue",
        "users": "usage.users",
        "stats": "usage.stats",
    },
    "Change something": {
        "cancel": "jobs.cancel",
        "requeue": "jobs.requeue",
        "gc": "cleaning.gc",
        "migrate": "migrating.migrate",
        "module": "module_group.module_group",
    },
}

_EXAMPLES = """\
\b
Examples:
  shifter-admin check                     is all well here? what to do if not
  shifter-admin queue                     what the gateway is at, for whom
  shifter-admin stats --days 90           what was used, and by whom
  shifter-admin images --owner alice      what somebody has there
  shifter-admin gc --dry-run              what could be removed
  shifter-admin module prepare mpich --from /usr/lib/x86_64-linux-gnu

Exit status: 0 when all is well, 1 when something is wrong or could not be done, 130 when
interrupted. shifter-admin COMMAND --help tells all about one command.
"""


class Program(SectionedGroup, AdminGroup):
    """`shifter-admin`; its commands are in `administration`."""

    package = "shifter_cli.administration"
    sections = SECTIONS


@click.group(
    cls=Program, invoke_without_command=True, epilog=_EXAMPLES,
    context_settings={"help_option_names": ["-h", "--help"]},
)  # fmt: skip
@program.version_option
@click.pass_context
def shifter_admin(ctx: click.Context) -> None:
    """Check Shifter on a node or a gateway, look after its images, prepare its modules."""
    require_command(ctx)


def main(config: str = DEFAULT_CONFIG, arguments: Sequence[str] | None = None) -> NoReturn:
    """Run as a program."""
    program.run(shifter_admin, _PROGRAM, Settings(config), arguments)
