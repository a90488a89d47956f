# SPDX-License-Identifier: BSD-3-Clause
"""Options that several commands have, what they share, and groups of commands."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

import click

from shifter_runtime import config as configs
from shifter_runtime.errors import ConfigError

if TYPE_CHECKING:
    from shifter_cli.administration.client import AdminClient

Function = TypeVar("Function", bound=Callable[..., Any])


@dataclasses.dataclass
class Settings:
    """udiRoot.conf as far as commands need it."""

    path: str

    def load(self) -> configs.RuntimeConfig:
        return configs.load(self.path)

    def load_if_any(self) -> configs.RuntimeConfig | None:
        """The configuration of a node; a host of the gateway need not have one."""
        try:
            return self.load()
        except ConfigError:
            return None

    def gateway(self) -> AdminClient:
        from shifter_cli.administration import client

        return client.connect(self.load())


class AdminGroup(click.Group):
    """Names its commands when none, or none of them, was given."""

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if self.get_command(ctx, args[0]) is None:
            known = ", ".join(self.list_commands(ctx))
            raise click.UsageError(f"no such command: {args[0]!r}; commands are {known}", ctx)
        return super().resolve_command(ctx, args)


def require_command(ctx: click.Context) -> None:
    if ctx.invoked_subcommand is None:
        assert isinstance(ctx.command, click.Group)
        known = ", ".join(ctx.command.list_commands(ctx))
        raise click.UsageError(f"must specify a command; commands are {known}", ctx)


def _set_config(ctx: click.Context, _: click.Parameter, value: str | None) -> None:
    if value is not None:
        ctx.ensure_object(Settings).path = value


def json_option(function: Function) -> Function:
    return click.option("--json", "as_json", is_flag=True, help="Print JSON for programs.")(
        function
    )


def file_option(function: Function) -> Function:
    return click.option(
        "--file", metavar="FILE", expose_value=False, callback=_set_config,
        help="The udiRoot.conf to read instead of the installed one.",
    )(function)  # fmt: skip


def user_option(function: Function) -> Function:
    return click.option(
        "--user", metavar="NAME",
        help="As root: who starts the image, because shifter starts none for root ($SUDO_USER).",
    )(function)  # fmt: skip


def yes_option(function: Function) -> Function:
    return click.option("--yes", is_flag=True, help="Do not ask.")(function)


def gateway_config_option(function: Function) -> Function:
    return click.option(
        "--gateway-config", metavar="FILE", envvar="GWCONFIG",
        help="The imagemanager.json of a gateway on this host (beside udiRoot.conf).",
    )(function)  # fmt: skip
