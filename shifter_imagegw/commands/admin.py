# SPDX-License-Identifier: BSD-3-Clause
"""Commands of `shifter-gateway` for who looks after it: what goes on, what lies around, keys."""

from __future__ import annotations

import dataclasses
import json
import os
import time
from datetime import timedelta
from pathlib import Path
from typing import Any

import click

from shifter_imagegw import config as configuration
from shifter_imagegw import units
from shifter_imagegw.catalog.opening import open_catalog
from shifter_imagegw.commands import own_account
from shifter_imagegw.commands.options import config_option, json_option, system_option
from shifter_imagegw.config import GatewayConfig
from shifter_imagegw.credentials import new_key
from shifter_imagegw.delivery import StoredImage
from shifter_imagegw.delivery.opening import open_delivery
from shifter_imagegw.errors import ConfigError
from shifter_imagegw.operation import logs, metrics, orphans
from shifter_imagegw.operation.readiness import Readiness
from shifter_imagegw.process_names import is_dead, machine
from shifter_imagegw.records import ImageRecord, PullState
from shifter_imagegw.registry import BlobCache

_SHORTEST_AGE = timedelta(hours=1)  # of an orphan that is removed: what is younger may be arriving


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
    config = _load(config_path)
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
    config = _load(config_path)
    catalog = open_catalog(config)
    jobs = [
        _described(record)
        for name in _systems(config, system)
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
    config = _load(config_path)
    catalog = open_catalog(config)
    if worker not in catalog.workers():
        raise ConfigError(f"no worker {worker!r} has a job: shifter-gateway status names those")
    if worker.startswith(f"{machine()}:") and not is_dead(worker):
        raise ConfigError(f"worker {worker!r} lives on this host: stop it, and its job goes back")
    click.echo(f"jobs given back: {catalog.release([worker])}")


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
    config = _load(config_path)
    if remove and timedelta(hours=hours) < _SHORTEST_AGE:
        raise ConfigError("--older-than must be 1 or more with --remove: a pull may be at younger")
    if remove and as_json and not yes:
        raise ConfigError("--remove with --json needs --yes: there is nobody to ask")
    catalog = open_catalog(config)
    content = []
    for name in _systems(config, system):
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
    config = _load(config_path)
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


@click.command(name="metrics", short_help="Print what /metrics of the API shows.")
@config_option
def metrics_command(config_path: Path) -> None:
    """Print what /metrics of the API shows, for a host that runs workers only.

    \b
    Example, for node_exporter's textfile collector:
      shifter-gateway metrics > /var/lib/node_exporter/shifter.prom.new
    """
    config = _load(config_path)
    seen = metrics.look(config, open_catalog(config))
    click.echo(metrics.render(config, seen), nl=False)


@click.command(short_help="Make a new key for KeyFile.")
@click.option(
    "--write",
    "path",
    metavar="FILE",
    type=click.Path(path_type=Path),
    help="Write it to this new file, readable to its owner alone, rather than show it.",
)
def key(path: Path | None) -> None:
    """Make a new key for KeyFile, which seals the logins of queued pulls.

    Each host of the gateway needs the same one. Logins that another key has sealed are lost: their
    users are told to pull again.

    \b
    Example:
      shifter-gateway key --write /etc/shifter/gateway.key
      chown shifter: /etc/shifter/gateway.key
    """
    text = f"{new_key()}\n"
    if path is None:
        click.echo(text, nl=False)
        return
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW
    try:
        with open(os.open(path, flags, 0o600), "w") as file:
            file.write(text)
    except FileExistsError:
        raise ConfigError(
            f"{os.fspath(path)!r} is there already: move it away first, and mind that logins that "
            "it has sealed are lost"
        ) from None
    except OSError as error:
        raise ConfigError(f"cannot write {os.fspath(path)!r}: {error.strerror}") from error


COMMANDS = (status, queue, release, orphans_command, cache, metrics_command, key)


def _load(path: Path) -> GatewayConfig:
    config = configuration.load(path)
    own_account.require(config)
    logs.configure(config, "admin")
    return config


def _systems(config: GatewayConfig, only: str | None) -> list[str]:
    if only is not None and only not in config.systems:
        raise ConfigError(f"there is no system {only!r}: Platforms has {sorted(config.systems)}")
    return list(config.systems) if only is None else [only]


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


def _show(system: str, found: list[StoredImage], total: int) -> None:
    for image in found:
        note = "" if image.has_metadata else " (without .meta)"
        click.echo(
            f"{system} {image.image_id}.{image.format} {units.size(image.size)} "
            f"{units.age(image.age)} old{note}"
        )
    size = units.size(sum(image.size for image in found))
    click.echo(f"{system}: {len(found)} of {total} images are in no record, {size}")


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
