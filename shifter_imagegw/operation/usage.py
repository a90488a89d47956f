# SPDX-License-Identifier: BSD-3-Clause
"""What workers and the sweep add to the usage history: ends of pulls, and what there is."""

from __future__ import annotations

import logging
import time
from collections.abc import Collection
from datetime import UTC, datetime, timedelta

from shifter_imagegw.catalog import Catalog
from shifter_imagegw.errors import CatalogError
from shifter_imagegw.records import ImageRecord, JobKind, UsageCount

log = logging.getLogger(__name__)


def day_of(now: float) -> str:
    """The day of a time, in UTC, which all hosts of a gateway agree on."""
    return datetime.fromtimestamp(now, UTC).strftime("%Y-%m-%d")


def first_of(days: float, now: float) -> str:
    """The first of the last so many days, today being one of them."""
    return day_of(now - timedelta(days=days - 1).total_seconds())


def note_end(catalog: Catalog, pull: ImageRecord, ended: ImageRecord | None = None) -> None:
    """Count a pull or import that has `ended` well, or has failed; never fails itself."""
    if pull.kind in (JobKind.REMOVAL, JobKind.ACL):
        return
    count = UsageCount(
        system=pull.system,
        day=day_of(time.time()),
        image=f"{pull.image_type}:{pull.pull_tag}",
        uid=pull.puller,
        restricted=(ended or pull).is_restricted,
        pulls=int(ended is not None),
        failures=int(ended is None),
    )
    try:
        catalog.add_usage([count])
    except CatalogError as error:
        log.warning("end of a pull not counted reason=%s", error)


def take_stock(catalog: Catalog, systems: Collection[str], kept: timedelta, now: float) -> None:
    """Note what each system holds today, and forget what is older than is to be kept."""
    for system in systems:
        holdings = catalog.holdings(system)
        images, size = sum(each.images for each in holdings), sum(each.bytes for each in holdings)
        catalog.set_stock(system, day_of(now), images, size)
    catalog.purge_usage(first_of(kept.days, now))
