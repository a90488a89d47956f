# SPDX-License-Identifier: BSD-3-Clause
"""The command `shifter-admin`: what administrators of nodes and gateways check and look after."""

from __future__ import annotations

import importlib
from collections.abc import Iterator, Sequence
from typing import NoReturn

import click

from shifter_cli import program
from shifter_cli.administration.options import AdminGroup, Settings, require_command

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
_PLACES = {name: place for commands in SECTIONS.values() for name, place in commands.items()}

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


class Program(AdminGroup):
    """Loads the command that is asked for."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return sorted(_PLACES)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in _PLACES:
            return None
        module, _, name = _PLACES[cmd_name].partition(".")
        command = getattr(importlib.import_module(f"shifter_cli.administration.{module}"), name)
        assert isinstance(command, click.Command)
        return command

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """The commands by section, then the options."""
        widest = max(map(len, _PLACES))
        for title, commands in SECTIONS.items():
            with formatter.section(title):
                room = formatter.width - formatter.current_indent - widest - 2
                formatter.write_dl(list(self._help(ctx, list(commands), room, widest)))
        click.Command.format_options(self, ctx, formatter)

    def _help(
        self, ctx: click.Context, names: Sequence[str], room: int, widest: int
    ) -> Iterator[tuple[str, str]]:
        for name in names:
            command = self.get_command(ctx, name)
            assert command is not None
            yield f"{name:<{widest}}", command.get_short_help_str(room)


@click.group(
    cls=Program, invoke_without_command=True, epilog=_EXAMPLES,
    context_settings={"help_option_names": ["-h", "--help"]},
)  # fmt: skip
@click.pass_context
def shifter_admin(ctx: click.Context) -> None:
    """Check Shifter on a node or a gateway, look after its images, prepare its modules."""
    require_command(ctx)


def main(config: str = DEFAULT_CONFIG, arguments: Sequence[str] | None = None) -> NoReturn:
    """Run as a program."""
    program.run(shifter_admin, _PROGRAM, Settings(config), arguments)
