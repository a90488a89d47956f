# SPDX-License-Identifier: BSD-3-Clause
"""What both commands are: groups that load only the subcommand that was asked for."""

from __future__ import annotations

import importlib
from collections.abc import Iterable, Iterator, Mapping
from typing import ClassVar

import click


class SectionedGroup(click.Group):
    """Finds each subcommand where `sections` say: `module.function`, below `package`."""

    package: ClassVar[str]
    sections: ClassVar[Mapping[str, Mapping[str, str]]]
    _places: ClassVar[dict[str, str]]

    def __init_subclass__(cls) -> None:
        cls._places = {
            name: place for part in cls.sections.values() for name, place in part.items()
        }

    def list_commands(self, ctx: click.Context) -> list[str]:
        return sorted(self._places)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in self._places:
            return None
        module, _, function = self._places[cmd_name].partition(".")
        command = getattr(importlib.import_module(f"{self.package}.{module}"), function)
        assert isinstance(command, click.Command)
        return command

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """The subcommands by section, then the options."""
        widest = max(map(len, self._places))
        for title, names in self.sections.items():
            with formatter.section(title):
                room = formatter.width - formatter.current_indent - widest - 2
                rows = [(f"{name:<{widest}}", text) for name, text in self._help(ctx, names, room)]
                formatter.write_dl(rows)
        click.Command.format_options(self, ctx, formatter)

    def _help(
        self, ctx: click.Context, names: Iterable[str], room: int
    ) -> Iterator[tuple[str, str]]:
        for name in names:
            command = self.get_command(ctx, name)
            assert command is not None
            yield name, command.get_short_help_str(room)
