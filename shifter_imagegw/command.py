# SPDX-License-Identifier: BSD-3-Clause
"""`shifter-gateway`: run the gateway, look at its configuration, put its house in order."""

from __future__ import annotations

import logging
from pathlib import Path

import click

from shifter_common.errors import ShifterError
from shifter_imagegw import config as configuration
from shifter_imagegw.command_options import config_option
from shifter_imagegw.serve import serve


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
    """


@main.group()
def config() -> None:
    """Look at a configuration."""


@config.command()
@config_option
def check(config_path: Path) -> None:
    """Read imagemanager.json and say what is wrong with it."""
    logging.basicConfig(format="%(levelname)s: %(message)s")
    loaded = configuration.load(config_path)
    systems, locations = len(loaded.systems), len(loaded.locations)
    click.echo(f"{config_path}: good ({systems} systems, {locations} locations)")


main.add_command(serve)
