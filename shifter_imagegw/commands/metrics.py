# SPDX-License-Identifier: BSD-3-Clause
"""`shifter-gateway metrics`: counts for Prometheus, where no API answers."""

from __future__ import annotations

from pathlib import Path

import click

from shifter_imagegw.catalog.opening import open_catalog
from shifter_imagegw.commands import site
from shifter_imagegw.commands.options import config_option
from shifter_imagegw.operation import metrics


@click.command(name="metrics", short_help="Print what /metrics of the API shows.")
@config_option
def metrics_command(config_path: Path) -> None:
    """Print what /metrics of the API shows, for a host that runs workers only.

    \b
    Example, for node_exporter's textfile collector:
      shifter-gateway metrics > /var/lib/node_exporter/shifter.prom.new
    """
    config = site.load(config_path)
    seen = metrics.look(config, open_catalog(config))
    click.echo(metrics.render(config, seen), nl=False)
