# SPDX-License-Identifier: BSD-3-Clause
"""`shifter doctor`: what a launch would find on this node, and what to do about it.

All of it runs as the user; what only root can see, the launch itself is asked for by `--dry-run`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NoReturn

from shifter_cli import program

PROGRAM = "shifter doctor"


def main(config: str, arguments: Sequence[str] | None = None) -> NoReturn:
    """Run as a program."""
    from shifter_cli.doctor import command

    program.run(command.doctor, PROGRAM, command.Settings(config), arguments)
