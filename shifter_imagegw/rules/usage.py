# SPDX-License-Identifier: BSD-3-Clause
"""Who uses what: the history of a system, and what its users have on it.

Administrators see all of it. Others see totals, and the names of images that are public now and
were when they were used; never a user.
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import time
from collections import defaultdict
from collections.abc import Callable, Iterable
from datetime import date, timedelta
from typing import Any

from shifter_imagegw.catalog import Catalog
from shifter_imagegw.config import GatewayConfig, SystemConfig
from shifter_imagegw.errors import BadRequestError, CatalogError
from shifter_imagegw.operation.recent import Recent
from shifter_imagegw.operation.usage import first_of
from shifter_imagegw.records import UsageCount, UsageDay
from shifter_imagegw.rules import access, accounts
from shifter_imagegw.rules.auth import Caller
from shifter_imagegw.rules.usage_log import UsageLog

TOP = 20  # images and users that are named
_NUMBERS = ("lookups", "pulls", "failures")

# A year of a large site takes seconds to add up, and anybody may ask.
_LONG = 60  # days
_LONG_SECONDS = 60.0  # for which what was added up of more days is given again


class UsageHistory:
    """What the catalog has kept of it, as a caller may see it."""

    def __init__(
        self,
        config: GatewayConfig,
        catalog: Catalog,
        usage_log: UsageLog,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._config = config
        self._catalog = catalog
        self._log = usage_log
        self._clock = clock
        self._long = functools.lru_cache(maxsize=16)(self._recent_counts)

    def stats(self, system: SystemConfig, caller: Caller | None, days: int) -> dict[str, Any]:
        """The last `days` days, today the last, and which images (and users) led them."""
        if not 1 <= days <= self._config.usage.days:
            raise BadRequestError(
                f"days must be a number from 1 to {self._config.usage.days} (UsageDays), not {days}"
            )
        self._flush()
        now = self._clock()
        history = self._days(system.name, days, now)
        counts = self._counts(system.name, days, now)
        is_admin = caller is not None and access.is_admin(caller, system)
        if not is_admin:
            public = self._public_names(system.name)
            counts = [one for one in counts if not one.restricted and one.image in public]
        last = history[-1]
        totals = {name: sum(getattr(day, name) for day in history) for name in _NUMBERS}
        return {
            "days": [dataclasses.asdict(day) for day in history],
            "top_images": _top_images(counts),
            "top_users": _top_users(counts) if is_admin else None,
            "totals": {"images": last.images, "bytes": last.bytes} | totals,
        }

    def users(self, system: SystemConfig) -> list[dict[str, Any]]:
        """What each user's images take on a system, most first; for administrators."""
        in_flight: dict[int | None, int] = defaultdict(int)
        for record in self._catalog.list_queue(system.name):
            in_flight[record.puller] += record.is_in_flight
        holdings = {each.uid: each for each in self._catalog.holdings(system.name)}
        users = [uid for uid in {*holdings, *in_flight} if uid in holdings or in_flight[uid]]
        rows = [
            {
                "uid": uid,
                "name": None if uid is None else accounts.name_of(uid),
                "images": holdings[uid].images if uid in holdings else 0,
                "bytes": holdings[uid].bytes if uid in holdings else 0,
                "in_flight": in_flight[uid],
                "last_pull": holdings[uid].last_pull if uid in holdings else None,
            }
            for uid in users
        ]
        return sorted(rows, key=lambda row: (-row["bytes"], -row["images"], str(row["uid"])))

    def _counts(self, system: str, days: int, now: float) -> list[UsageCount]:
        first = first_of(days, now)
        if days <= _LONG:
            return self._catalog.usage_counts(system, first)
        return self._long(system, first)()

    def _recent_counts(self, system: str, first: str) -> Recent[list[UsageCount]]:
        return Recent(lambda: self._catalog.usage_counts(system, first), _LONG_SECONDS)

    def _days(self, system: str, days: int, now: float) -> list[UsageDay]:
        first = first_of(days, now)
        known = {day.day: day for day in self._catalog.usage_days(system, first)}
        start = date.fromisoformat(first)
        names = [(start + timedelta(days=number)).isoformat() for number in range(days)]
        history = [known.get(name, UsageDay(day=name)) for name in names]
        holdings = self._catalog.holdings(system)
        history[-1] = dataclasses.replace(
            history[-1],
            images=sum(each.images for each in holdings),
            bytes=sum(each.bytes for each in holdings),
        )
        return history

    def _public_names(self, system: str) -> set[str]:
        return {
            f"{record.image_type}:{tag}"
            for record in self._catalog.list_ready(system)
            if not record.is_restricted
            for tag in record.tags
        }

    def _flush(self) -> None:
        with contextlib.suppress(CatalogError):  # who asks is told of it by the next line
            self._log.flush()


def _top_images(counts: Iterable[UsageCount]) -> list[dict[str, Any]]:
    """The images that were looked up most; `users` is null where it is not kept who did."""
    found: dict[str, dict[str, Any]] = {}
    users: dict[str, set[int]] = defaultdict(set)
    for one in counts:
        row = found.setdefault(one.image, {"image": one.image} | dict.fromkeys(_NUMBERS, 0))
        for name in _NUMBERS:
            row[name] += getattr(one, name)
        if one.lookups and one.uid is not None:
            users[one.image].add(one.uid)
    ranked = sorted(found.values(), key=lambda row: (-row["lookups"], -row["pulls"], row["image"]))
    return [row | {"users": len(users[row["image"]]) or None} for row in ranked[:TOP]]


def _top_users(counts: Iterable[UsageCount]) -> list[dict[str, Any]]:
    found: dict[int, dict[str, Any]] = {}
    for one in counts:
        if one.uid is None:
            continue
        row = found.setdefault(one.uid, {"uid": one.uid} | dict.fromkeys(_NUMBERS, 0))
        for name in _NUMBERS:
            row[name] += getattr(one, name)
    ranked = sorted(found.values(), key=lambda row: (-row["lookups"], -row["pulls"], row["uid"]))
    return [row | {"name": accounts.name_of(row["uid"])} for row in ranked[:TOP]]
