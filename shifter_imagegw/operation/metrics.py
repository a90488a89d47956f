# SPDX-License-Identifier: BSD-3-Clause
"""What the gateway does, in the text form that Prometheus reads.

Counts only: no image, user or tag has a name here, so the page is open to everybody. Queue and
images come from the catalog and are the same on every host of the gateway; what processes counted
is that of this host, or of all that share its CacheDirectory.
"""

from __future__ import annotations

import importlib.metadata
import time
from collections.abc import Iterator

from shifter_imagegw.catalog import Catalog
from shifter_imagegw.config import GatewayConfig
from shifter_imagegw.errors import CatalogError
from shifter_imagegw.operation import telemetry
from shifter_imagegw.records import PullState
from shifter_imagegw.registry import BlobCache

Sample = tuple[str, float]  # series and value

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"

# name: (type, meaning); in the order of the page
FAMILIES = {
    "shifter_build_info": ("gauge", "Always 1; the version is its label."),
    "shifter_catalog_up": ("gauge", "1 while the catalog answers."),
    "shifter_records": ("gauge", "Records of the catalog, by system and state."),
    "shifter_queue_depth": ("gauge", "Jobs that wait for a worker or whose worker died."),
    "shifter_busy_workers": ("gauge", "Workers that have a job."),
    "shifter_cache_bytes": ("gauge", "What downloaded layers take on this host."),
    "shifter_cache_limit_bytes": ("gauge", "What they may take: CacheSize."),
    "shifter_jobs_total": ("counter", "Jobs of workers that ended, by how."),
    "shifter_job_failures_total": ("counter", "Jobs that failed, by kind of error."),
    "shifter_stage_seconds": ("histogram", "How long pulls and imports stay in each state."),
    "shifter_fetched_bytes_total": ("counter", "Bytes of layers fetched, cached ones included."),
    "shifter_lookups_total": ("counter", "Lookups, by system and whether there was an image."),
    "shifter_http_requests_total": ("counter", "Requests, by route and status."),
}


def look(config: GatewayConfig, catalog: Catalog) -> list[Sample]:
    """What has to be looked for, in the whole catalog and the whole cache."""
    return [*_of_the_catalog(config, catalog), *_of_the_cache(config)]


def render(config: GatewayConfig, seen: list[Sample]) -> str:
    """The page: what `look` has seen, and what processes have counted."""
    counted = telemetry.collect(config.cache_directory).items()
    return "".join(_page([*_of_the_build(), *seen, *counted]))


def _page(samples: list[tuple[str, float]]) -> Iterator[str]:
    for family, (kind, meaning) in FAMILIES.items():
        own = [(series, value) for series, value in samples if _family_of(series) == family]
        if own:
            yield f"# HELP {family} {meaning}\n# TYPE {family} {kind}\n"
            yield from (f"{series} {_number(value)}\n" for series, value in _sorted(own))


def release() -> str:
    """The version of Shifter that this is."""
    try:
        return importlib.metadata.version("shifter")
    except importlib.metadata.PackageNotFoundError:
        return "unknown"


def _of_the_build() -> Iterator[tuple[str, float]]:
    yield telemetry.series("shifter_build_info", {"version": release()}), 1


def _of_the_catalog(config: GatewayConfig, catalog: Catalog) -> Iterator[tuple[str, float]]:
    try:
        states = catalog.count_states()
        claimable = catalog.count_claimable(list(config.systems), time.time())
        workers = catalog.workers()
    except CatalogError:
        yield "shifter_catalog_up", 0
        return
    yield "shifter_catalog_up", 1
    for system in config.systems:
        for state in PullState:
            labels = {"system": system, "state": state.value.lower()}
            yield telemetry.series("shifter_records", labels), states.get((system, state), 0)
        depth = claimable.get(system, 0)
        yield telemetry.series("shifter_queue_depth", {"system": system}), depth
    yield "shifter_busy_workers", len(set(workers))


def _of_the_cache(config: GatewayConfig) -> Iterator[tuple[str, float]]:
    yield "shifter_cache_bytes", BlobCache(config.cache_directory).size().bytes
    yield "shifter_cache_limit_bytes", config.limits.cache_bytes


def _family_of(series: str) -> str:
    name = series.partition("{")[0]
    for suffix in ("_bucket", "_sum", "_count"):
        if FAMILIES.get(name.removesuffix(suffix), ("", ""))[0] == "histogram":
            return name.removesuffix(suffix)
    return name


def _sorted(samples: list[tuple[str, float]]) -> list[tuple[str, float]]:
    """Buckets of one histogram in the order of their bounds, then sum and count."""
    return sorted(samples, key=lambda sample: _sort_key(sample[0]))


def _sort_key(series: str) -> tuple[str, str, float]:
    name, _, labels = series.partition("{")
    others, _, bound = labels.partition('le="')
    return name, others, float(bound.partition('"')[0] or 0)


def _number(value: float) -> str:
    return str(int(value)) if value == int(value) else repr(value)
