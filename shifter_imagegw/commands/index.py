# SPDX-License-Identifier: BSD-3-Clause
"""`shifter-gateway index`: the names that nodes find beside the images."""

from __future__ import annotations

from pathlib import Path

import click

from shifter_imagegw import config as configuration
from shifter_imagegw.catalog.opening import open_catalog
from shifter_imagegw.commands import own_account, site
from shifter_imagegw.commands.options import config_option, system_option
from shifter_imagegw.delivery import tag_index
from shifter_imagegw.delivery.opening import open_delivery


@click.group(short_help="Look after the names that nodes find images by.")
def index() -> None:
    """Look after the names in the image directories, by which nodes find images on their own."""


@index.command()
@config_option
@system_option
def rebuild(config_path: Path, system: str | None) -> None:
    """Have the names say what the catalog says.

    Pulls keep them as they should be. This is for a gateway that takes over a catalog and images
    of the original, and for an index that was lost. Pulls may go on meanwhile.

    \b
    Example:
      shifter-gateway index rebuild --system mycluster
    """
    config = configuration.load(config_path)
    own_account.require(config)
    names = site.systems(config, system)
    catalog = open_catalog(config)
    for name in names:
        done = tag_index.rebuild(name, catalog, open_delivery(config.systems[name], config))
        click.echo(f"{name}: {done.written} names written, {done.removed} removed")
