# SPDX-License-Identifier: BSD-3-Clause
"""`shifter-gateway gc`: remove what nobody needs any more, from catalog and disks."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import sys
import time
from collections.abc import Iterator, Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any

import click

from shifter_imagegw import units
from shifter_imagegw.catalog import Catalog
from shifter_imagegw.catalog.opening import open_catalog
from shifter_imagegw.commands import site
from shifter_imagegw.commands.options import config_option, json_option, system_option
from shifter_imagegw.config import GatewayConfig
from shifter_imagegw.delivery import Delivery, Partial, StoredImage
from shifter_imagegw.delivery.opening import open_delivery
from shifter_imagegw.errors import ConfigError
from shifter_imagegw.operation import orphans
from shifter_imagegw.records import ImageRecord, PullState
from shifter_imagegw.registry import BlobCache
from shifter_imagegw.workers import sweep

_SHORTEST_AGE = 1.0  # hours; what is younger may be arriving


@dataclasses.dataclass(frozen=True, kw_only=True)
class Waste:
    """What may go from one system, and the orphans that are left alone, with the reason."""

    system: str
    expired: list[ImageRecord]
    ended: int  # records of jobs
    orphans: list[StoredImage]
    partials: list[Partial]
    doubt: str = ""

    @property
    def bytes(self) -> int:
        return (
            sum(record.size or 0 for record in self.expired)
            + sum(image.size for image in self.orphans)
            + sum(map(_size_of, self.partials))
        )

    def to_json(self) -> dict[str, Any]:
        return {
            "system": self.system,
            "expired": [
                {"image": _name(record), "id": record.image_id, "size": record.size}
                for record in self.expired
            ],
            "ended_records": self.ended,
            "orphans": [dataclasses.asdict(image) for image in self.orphans],
            "partial_files": [str(partial.path) for partial in self.partials],
            "bytes": self.bytes,
            "left_alone": self.doubt or None,
        }


@click.command()
@config_option
@json_option
@system_option
@click.option(
    "--older-than", "hours", type=click.FloatRange(_SHORTEST_AGE), default=24.0,
    show_default=True, metavar="HOURS", help="Leave younger orphans alone.",
)  # fmt: skip
@click.option("--dry-run", is_flag=True, help="Say what would go and how much that is; no more.")
@click.option("--yes", is_flag=True, help="Do not ask.")
def gc(
    config_path: Path, as_json: bool, system: str | None, hours: float, dry_run: bool, yes: bool
) -> None:
    """Remove what nobody needs any more.

    That is: images whose time has come; images in the directories that no record knows; files that
    a dead worker left half written; records of jobs that ended; downloaded layers beyond CacheSize.
    What pulls are at is left alone. Images are removed by the workers, a moment later.

    \b
    Examples:
      shifter-gateway gc --dry-run
      shifter-gateway gc --yes --json
    """
    config = site.load(config_path)
    names = site.systems(config, system)
    if not (dry_run or yes) and (as_json or not sys.stdin.isatty()):
        raise ConfigError("there is nobody to ask: say --yes to have it done, or --dry-run")
    catalog, now = open_catalog(config), time.time()
    deliveries = {name: open_delivery(config.systems[name], config) for name in names}
    found = [
        find(catalog, config, name, deliveries[name], timedelta(hours=hours), now) for name in names
    ]
    blobs = BlobCache(config.cache_directory)
    surplus = max(0, blobs.size().bytes - config.limits.cache_bytes)
    if not as_json:
        for line in _lines(found, surplus, config):
            click.echo(line)
    is_any = surplus or any(each.bytes or each.ended for each in found)
    if is_any and not dry_run and not yes:
        click.confirm("Remove all that?", abort=True)
    misled: list[ImageRecord] = []
    if not dry_run:
        for each in found:
            misled += remove(catalog, config, each, deliveries[each.system], now)
        blobs.trim(config.limits.cache_bytes)
    if as_json:
        content = {
            "dry_run": dry_run,
            "systems": [each.to_json() for each in found],
            "cache_bytes": surplus,
            "pull_again": [_name(record) for record in misled],
        }
        click.echo(json.dumps(content, indent=2))
        return
    for record in misled:
        click.echo(f"{_name(record)} was pulled at that moment: pull it again", err=True)
    total = units.size(surplus + sum(each.bytes for each in found))
    click.echo(f"{total} would go" if dry_run else f"removed, or on its way out: {total}")


def find(
    catalog: Catalog,
    config: GatewayConfig,
    system: str,
    delivery: Delivery,
    older_than: timedelta,
    now: float,
) -> Waste:
    """What may go from a system; nothing is changed."""
    stored = delivery.images()
    unknown = orphans.find(catalog, system, stored, older_than)
    states = catalog.count_states()
    doubt = ""
    if unknown and not states.get((system, PullState.READY)):
        # A catalog that was lost knows nothing, and all that users have would go.
        doubt = (
            f"the catalog knows no image of {system}, and {len(unknown)} are in its directory: if "
            "it was lost, bring it back; else `shifter-gateway orphans --remove` removes them"
        )
        unknown = []
    before = now - config.pull_update_timeout.total_seconds()
    failed = sum(
        record.state is PullState.FAILURE and (record.last_pull or 0) < before
        for record in catalog.list_queue(system)
    )
    return Waste(
        system=system,
        expired=catalog.list_expired(system, now),
        ended=failed + states.get((system, PullState.EXPIRED), 0),
        orphans=unknown,
        partials=sweep.abandoned(catalog, delivery),
        doubt=doubt,
    )


def remove(
    catalog: Catalog, config: GatewayConfig, waste: Waste, delivery: Delivery, now: float
) -> list[ImageRecord]:
    """Have it go; records that a pull has made meanwhile of an orphan that went."""
    for record in waste.expired:
        catalog.add_expire(record, expired_at=now)
    catalog.purge_ended(waste.system, now - config.pull_update_timeout.total_seconds())
    for partial in waste.partials:
        delivery.discard(partial)
    _, misled = orphans.remove(catalog, waste.system, delivery, waste.orphans)
    return misled


def _lines(found: list[Waste], surplus: int, config: GatewayConfig) -> Iterator[str]:
    for waste in found:
        for record in waste.expired:
            yield f"{waste.system}: expired: {_name(record)}, {units.size(record.size or 0)}"
        for image in waste.orphans:
            about = f"{units.size(image.size)}, {units.age(image.age)} old"
            yield f"{waste.system}: in no record: {image.image_id}.{image.format}, {about}"
        for partial in waste.partials:
            yield f"{waste.system}: half written: {partial.path}"
        if waste.ended:
            yield f"{waste.system}: records of jobs that ended: {waste.ended}"
        if waste.doubt:
            yield f"{waste.system}: left alone: {waste.doubt}"
        if not (waste.bytes or waste.ended or waste.doubt):
            yield f"{waste.system}: nothing to remove"
    if surplus:
        limit = units.size(config.limits.cache_bytes)
        yield f"downloaded layers beyond CacheSize ({limit}): {units.size(surplus)}"


def _name(record: ImageRecord) -> str:
    names: Mapping[str, None] = dict.fromkeys(record.tags)
    return f"{record.image_type}:{next(iter(names), record.pull_tag)}"


def _size_of(partial: Partial) -> int:
    """Of a file on this host; one that is reached by ssh does not count."""
    with contextlib.suppress(OSError):
        return partial.path.lstat().st_size
    return 0
