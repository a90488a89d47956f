# SPDX-License-Identifier: BSD-3-Clause
"""`shifter-gateway`: run the gateway, look at its configuration, put its house in order."""

from __future__ import annotations

import click

from shifter_common.errors import ShifterError
from shifter_imagegw.commands import admin
from shifter_imagegw.commands.config_check import check
from shifter_imagegw.commands.config_show import show
from shifter_imagegw.commands.index import index
from shifter_imagegw.commands.serve import api, serve


class GatewayGroup(click.Group):
    """Shows any `ShifterError` the way click shows its own errors."""

    def invoke(self, ctx: click.Context) -> object:
        try:
            return super().invoke(ctx)
        except ShifterError as error:
            raise click.ClickException(str(error)) from error


@click.group(cls=GatewayGroup)
def main() -> None:
    """Shifter's image gateway: fetches images, converts them, and delivers them to systems.

    \b
    Examples:
      shifter-gateway config check --config /etc/shifter/imagemanager.json
      shifter-gateway serve --config /etc/shifter/imagemanager.json
      shifter-gateway serve --config imagemanager.json --bind 0.0.0.0:5000 --workers 4
      shifter-gateway status --config /etc/shifter/imagemanager.json
    """


@main.group()
def config() -> None:
    """Look at a configuration."""


config.add_command(check)
config.add_command(show)
main.add_command(serve)
main.add_command(api)
main.add_command(index)
for command in admin.COMMANDS:
    main.add_command(command)
