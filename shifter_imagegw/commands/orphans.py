# SPDX-License-Identifier: BSD-3-Clause
"""`shifter-gateway orphans`: images on disk that no record knows."""

from __future__ import annotations

import dataclasses
import json
from datetime import timedelta
from pathlib import Path

import click

from shifter_imagegw import units
from shifter_imagegw.catalog.opening import open_catalog
from shifter_imagegw.commands import site
from shifter_imagegw.commands.options import config_option, json_option, system_option
from shifter_imagegw.delivery import StoredImage
from shifter_imagegw.delivery.opening import open_delivery
from shifter_imagegw.errors import ConfigError
from shifter_imagegw.operation import orphans
from shifter_imagegw.records import ImageRecord

_SHORTEST_AGE = timedelta(hours=1)  # of an orphan that is removed: what is younger may be arriving


@click.command(name="orphans", short_help="List images that no record of the catalog knows.")
@config_option
@json_option
@system_option
@click.option(
    "--older-than",
    "hours",
    type=click.FloatRange(0),
    default=24.0,
    show_default=True,
    metavar="HOURS",
    help="Leave younger ones out.",
)
@click.option("--remove", is_flag=True, help="Remove them, after asking.")
@click.option("--yes", is_flag=True, help="Do not ask.")
def orphans_command(
    config_path: Path, as_json: bool, system: str | None, hours: float, remove: bool, yes: bool
) -> None:
    """List images in the image directories that no record of the catalog knows.

    Images that are READY, or on their way, are never among them. With a catalog that was lost, all
    images are: have a look at the list before you remove it.

    \b
    Examples:
      shifter-gateway orphans
      shifter-gateway orphans --system mycluster --older-than 720 --remove
    """
    config = site.load(config_path)
    if remove and timedelta(hours=hours) < _SHORTEST_AGE:
        raise ConfigError("--older-than must be 1 or more with --remove: a pull may be at younger")
    if remove and as_json and not yes:
        raise ConfigError("--remove with --json needs --yes: there is nobody to ask")
    catalog = open_catalog(config)
    content = []
    for name in site.systems(config, system):
        delivery = open_delivery(config.systems[name], config)
        stored = delivery.images()
        found = orphans.find(catalog, name, stored, timedelta(hours=hours))
        if not as_json:
            _show(name, found, len(stored))
        went: list[StoredImage] = []
        misled: list[ImageRecord] = []
        if found and remove:
            if not yes:
                click.confirm(f"Remove these {len(found)} images of {name}?", abort=True)
            went, misled = orphans.remove(catalog, name, delivery, found)
        if not as_json and remove:
            click.echo(
                f"{name}: removed {len(went)} images, {units.size(sum(i.size for i in went))}"
            )
        for record in misled:
            click.echo(
                f"{name}: {record.pull_tag} was pulled at that moment: pull it again", err=True
            )
        removed = {image.image_id for image in went}
        content += [
            {"system": name, **dataclasses.asdict(image), "removed": image.image_id in removed}
            for image in found
        ]
    if as_json:
        click.echo(json.dumps(content, indent=2))


def _show(system: str, found: list[StoredImage], total: int) -> None:
    for image in found:
        note = "" if image.has_metadata else " (without .meta)"
        click.echo(
            f"{system} {image.image_id}.{image.format} {units.size(image.size)} "
            f"{units.age(image.age)} old{note}"
        )
    size = units.size(sum(image.size for image in found))
    click.echo(f"{system}: {len(found)} of {total} images are in no record, {size}")
