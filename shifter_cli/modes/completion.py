# SPDX-License-Identifier: BSD-3-Clause
"""Completion of our commands in a shell."""

from __future__ import annotations

import click

from shifter_cli import output
from shifter_cli.completion import scripts

_EXAMPLES = """\
\b
Examples:
  source <(shifterimg completion bash)   in ~/.bashrc
  source <(shifterimg completion zsh)    in ~/.zshrc, after compinit
  shifterimg completion fish | source    in ~/.config/fish/config.fish

Where shells look into the share directory of the installation, they find the same there:
bash-completion/completions, zsh/site-functions, fish/vendor_completions.d.
"""


@click.command(short_help="Print what makes <TAB> complete commands.", epilog=_EXAMPLES)
@click.argument("shell", type=click.Choice(scripts.SHELLS))
@click.argument("program", type=click.Choice(scripts.PROGRAMS), required=False, metavar="[PROGRAM]")
def completion(shell: str, program: str | None) -> None:
    """Print what a shell reads to complete shifterimg, shifter and shifter-admin.

    PROGRAM is one of these three, if not all are wanted.

    Options, names of images, and modules of the site are completed; names of images are those of
    the gateway, kept for a minute.
    """
    programs = [program] if program else scripts.PROGRAMS
    output.say("\n".join(scripts.script(shell, one) for one in programs).rstrip("\n"))
