# SPDX-License-Identifier: BSD-3-Clause
"""`shifter-gateway status`: what works, and what the gateway is busy with."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click

from shifter_imagegw import units
from shifter_imagegw.catalog.opening import open_catalog
from shifter_imagegw.commands import site
from shifter_imagegw.commands.options import config_option, json_option
from shifter_imagegw.operation.readiness import Readiness
from shifter_imagegw.records import PullState
from shifter_imagegw.registry import BlobCache


@click.command(short_help="Say what works, and what the gateway is busy with.")
@config_option
@json_option
def status(config_path: Path, as_json: bool) -> None:
    """Say what works, what does not, and what the gateway is busy with.

    Ends with 1 where a part is missing.

    \b
    Examples:
      shifter-gateway status --config /etc/shifter/imagemanager.json
      shifter-gateway status --json | jq .missing
    """
    config = site.load(config_path)
    catalog = open_catalog(config)
    readiness = Readiness(config, catalog)
    missing = readiness.missing()
    content: dict[str, Any] = {"missing": dict(missing)}
    if "catalog" not in missing:
        states = catalog.count_states()
        content["late"] = dict(readiness.late())
        content["workers"] = sorted(set(catalog.workers()))
        content["systems"] = {
            system: {
                state: states[system, state] for state in PullState if (system, state) in states
            }
            for system in config.systems
        }
    cache = BlobCache(config.cache_directory).size()
    content["cache"] = {"bytes": cache.bytes, "limit": config.limits.cache_bytes}
    click.echo(json.dumps(content, indent=2) if as_json else _status_text(content))
    if missing:
        raise SystemExit(1)


def _status_text(content: dict[str, Any]) -> str:
    lines = [f"missing: {part}: {reason}" for part, reason in content["missing"].items()]
    lines += [f"late: {system}: {reason}" for system, reason in content.get("late", {}).items()]
    for system, states in content.get("systems", {}).items():
        counts = " ".join(f"{state.lower()}={count}" for state, count in states.items())
        lines.append(f"{system}: {counts or 'no records'}")
    lines += [f"busy: {worker}" for worker in content.get("workers", [])]
    taken = content["cache"]
    lines.append(f"cache: {units.size(taken['bytes'])} of {units.size(taken['limit'])}")
    lines.append("not ready" if content["missing"] else "ready")
    return "\n".join(lines)
