# SPDX-License-Identifier: BSD-3-Clause
"""`shifter-gateway queue` and `release`: what waits and runs, and what a dead worker holds."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import click

from shifter_imagegw import units
from shifter_imagegw.catalog.opening import open_catalog
from shifter_imagegw.commands import site
from shifter_imagegw.commands.options import config_option, json_option, system_option
from shifter_imagegw.errors import ConfigError
from shifter_imagegw.process_names import is_dead, machine
from shifter_imagegw.records import ImageRecord, PullState


@click.command(short_help="List jobs that wait, run or have failed.")
@config_option
@json_option
@system_option
def queue(config_path: Path, as_json: bool, system: str | None) -> None:
    """List pulls, imports, removals and changes of access that wait, run or have failed.

    \b
    Examples:
      shifter-gateway queue --system mycluster
      shifter-gateway queue --json | jq '.[] | select(.message != "")'
    """
    config = site.load(config_path)
    catalog = open_catalog(config)
    jobs = [
        _described(record)
        for name in site.systems(config, system)
        for record in catalog.list_queue(name)
    ]
    if as_json:
        click.echo(json.dumps(jobs, indent=2))
        return
    for job in jobs:
        click.echo(
            f"{job['system']:12} {job['kind']:7} {job['state']:11} {units.age(job['seconds']):>8} "
            f"uid={job['uid']} attempts={job['attempts']} {job['image']} {job['message']}".rstrip()
        )
    if not jobs:
        click.echo("nothing waits, runs or has failed")


@click.command(short_help="End the lease of a worker whose host is dead.")
@config_option
@click.argument("worker")
def release(config_path: Path, worker: str) -> None:
    """End the lease of WORKER, whose host is known to be dead, so that another takes its job.

    Not needed as a rule: a lease ends by itself, 20 seconds after its worker fell silent. `status`
    names the workers.

    \b
    Example:
      shifter-gateway release node7.4c1d22f0:4711:83245
    """
    config = site.load(config_path)
    catalog = open_catalog(config)
    if worker not in catalog.workers():
        raise ConfigError(f"no worker {worker!r} has a job: shifter-gateway status names those")
    if worker.startswith(f"{machine()}:") and not is_dead(worker):
        raise ConfigError(f"worker {worker!r} lives on this host: stop it, and its job goes back")
    click.echo(f"jobs given back: {catalog.release([worker])}")


def _described(record: ImageRecord) -> dict[str, Any]:
    has_failed = record.state is PullState.FAILURE
    began = record.last_pull if has_failed or record.since is None else record.since
    since = None if began is None else max(0.0, time.time() - began)
    return {
        "system": record.system,
        "kind": record.kind.value,
        "state": record.state.value,
        "image": f"{record.image_type}:{record.pull_tag}",
        "uid": record.puller,
        "attempts": record.attempts,
        "seconds": since,
        "message": record.status_message or "",
    }
