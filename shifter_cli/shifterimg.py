# SPDX-License-Identifier: BSD-3-Clause
"""The command `shifterimg`: fetch images, list them, find one; its modes are in `modes`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NoReturn

import click

from shifter_cli import program
from shifter_cli.groups import SectionedGroup
from shifter_cli.modes import options
from shifter_cli.session import Session

DEFAULT_CONFIG = "/etc/shifter/udiRoot.conf"

# Where each mode is, below `modes`, by what it is for. A launch by name waits for `lookup`, so
# that no more than the mode that was asked for is loaded.
SECTIONS = {
    "Get and save images": {
        "pull": "pulling.pull",
        "pullnb": "pulling.pullnb",
        "import": "importing.import_",
        "export": "exporting.export",
    },
    "Look at images": {
        "images": "listing.images",
        "lookup": "looking.lookup",
        "inspect": "inspecting.inspect",
        "search": "searching.search",
    },
    "Change images": {
        "rm": "removing.rm",
        "acl": "access_lists.acl",
        "expire": "removing.expire",
    },
    "Registry logins": {
        "login": "logins.login",
        "logins": "logins.logins",
        "logout": "logins.logout",
    },
    "Watch the gateway": {
        "queue": "queueing.queue",
        "cancel": "queueing.cancel",
        "web": "web.web",
        "metrics": "lookups.metrics",
        "autoexpire": "removing.autoexpire",
    },
    "Your shell": {
        "completion": "completion.completion",
    },
}

_EXAMPLES = """\
\b
Examples:
  shifterimg pull ubuntu:24.04              fetch an image and wait for it
  shifterimg pull python@sha256:4f5a...     exactly this content
  shifterimg images ubuntu                  what is there
  shifterimg lookup ubuntu:24.04            the id, for --image=id:...
  shifterimg login registry.example.org     for private images
  shifterimg pull --user alice,bob me/app:1 only for these users and you
  shifterimg import tool.squashfs tool:1    your own, as custom:tool:1

shifterimg MODE --help tells all about one mode.

Exit status: 0 when all is well, 1 when something could not be done, 75 when no gateway
answered a lookup, 130 when interrupted.
"""


class ModeGroup(SectionedGroup):
    """Names all modes when none, or none of them, was given."""

    package = "shifter_cli.modes"
    sections = SECTIONS

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if args[0] == "help":  # as `help`, or as `help pull`
            args = [*args[1:2], "--help"]
        if args[0] == "--help":
            click.echo(ctx.get_help())
            ctx.exit()
        if args[0] not in self.list_commands(ctx):
            from shifter_cli import habits

            hint = habits.of_mode(args[0], self.list_commands(ctx)) or self._known(ctx)
            raise click.UsageError(f"no such mode: {args[0]!r}; {hint}", ctx)
        return super().resolve_command(ctx, args)

    def require_mode(self, ctx: click.Context) -> None:
        if ctx.invoked_subcommand is None:
            raise click.UsageError(f"must specify a mode; {self._known(ctx)}", ctx)

    def _known(self, ctx: click.Context) -> str:
        return f"modes are {', '.join(self.list_commands(ctx))}"


def _set_config(ctx: click.Context, _: click.Parameter, value: str | None) -> None:
    if value is not None:
        ctx.ensure_object(Session).config_path = value


@click.group(
    cls=ModeGroup,
    invoke_without_command=True,
    subcommand_metavar="MODE [IMAGE]...",
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog=_EXAMPLES,
)
@options.verbose_option
@options.access_options
@click.option("--config", hidden=True, expose_value=False, callback=_set_config)
@program.version_option
@click.pass_context
def shifterimg(ctx: click.Context) -> None:
    """Fetch container images for this cluster, list them, find one.

    IMAGE is [TYPE:]NAME[:TAG], such as ubuntu:24.04 or custom:tool:1. LISTs are names or numbers
    joined by commas; they apply to pulls and imports.
    """
    group = ctx.command
    assert isinstance(group, ModeGroup)
    group.require_mode(ctx)


def main(config: str = DEFAULT_CONFIG, arguments: Sequence[str] | None = None) -> NoReturn:
    """Run as a program."""
    program.run(shifterimg, "shifterimg", Session(config), arguments)
