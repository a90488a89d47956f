# SPDX-License-Identifier: BSD-3-Clause
"""`shifter-gateway cache`: how much the downloaded layers take."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import click

from shifter_imagegw import units
from shifter_imagegw.commands import site
from shifter_imagegw.commands.options import config_option, json_option
from shifter_imagegw.registry import BlobCache


@click.command()
@config_option
@json_option
@click.option(
    "--trim", is_flag=True, help="Remove what was used least recently, down to CacheSize."
)
def cache(config_path: Path, as_json: bool, trim: bool) -> None:
    """Say how much the downloaded layers take.

    Workers trim the cache by themselves, after each pull and every now and then; nothing that a
    pull uses is ever removed.

    \b
    Example:
      shifter-gateway cache --trim
    """
    config = site.load(config_path)
    blobs = BlobCache(config.cache_directory)
    report = blobs.trim(config.limits.cache_bytes) if trim else blobs.size()
    if as_json:
        content = dataclasses.asdict(report) | {"limit": config.limits.cache_bytes}
        click.echo(json.dumps(content, indent=2))
        return
    if trim:
        click.echo(f"removed {report.removed_blobs} blobs, {units.size(report.removed_bytes)}")
        report = blobs.size()
    limit = units.size(config.limits.cache_bytes)
    click.echo(f"{blobs.directory}: {report.blobs} blobs, {units.size(report.bytes)} of {limit}")
