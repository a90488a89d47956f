# SPDX-License-Identifier: BSD-3-Clause
"""`shifter-gateway check`: is all well on this host of the gateway, and what to do if not."""

from __future__ import annotations

import dataclasses
import json
import logging
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import click

from shifter_common.errors import MungeError, ShifterError
from shifter_imagegw import config as configuration
from shifter_imagegw import formats, units
from shifter_imagegw.catalog.opening import open_catalog
from shifter_imagegw.commands import config_check, own_account
from shifter_imagegw.commands.options import config_option, json_option
from shifter_imagegw.commands.serve import is_served
from shifter_imagegw.config import AccessType, GatewayConfig
from shifter_imagegw.delivery.opening import open_delivery
from shifter_imagegw.errors import ConfigError
from shifter_imagegw.operation.readiness import Readiness
from shifter_imagegw.operation.redaction import without_secrets
from shifter_imagegw.registry import Endpoint
from shifter_imagegw.registry.errors import RegistryError, RegistryUnreachableError
from shifter_imagegw.registry.reach import require_registry

_OK, _WARNING, _WRONG, _SKIPPED = "ok", "warning", "wrong", "skipped"
_LITTLE_SPACE = 20 << 30  # bytes
_LITTLE_PART = 0.05  # of a filesystem's bytes, or of its inodes
_WARNINGS = 2

# What pulls, imports and deliveries start, and the package that has it on Debian.
_PROGRAMS = {"squashfs": {"tar2sqfs": "squashfs-tools-ng"}}
_IMPORT_PROGRAMS = {"unsquashfs": "squashfs-tools"}
_SSH_PROGRAMS = {"ssh": "openssh-client"}


@dataclasses.dataclass(frozen=True)
class Matter:
    """One thing that was looked at; `text` says how it is, why, and what to do."""

    group: str
    name: str
    state: str
    text: str


@click.command(short_help="Look at all that the gateway needs; what to do if it is not there.")
@config_option
@json_option
def check(config_path: Path, as_json: bool) -> None:
    """Look at all that the gateway needs: configuration, servers, registries, disks, programs.

    Ends with 1 where something is wrong, with 2 where there are warnings only. Nothing is changed.

    \b
    Examples:
      shifter-gateway check
      shifter-gateway check --json | jq '.matters[] | select(.state != "ok")'
    """
    found = []
    for matter in matters(config_path):
        found.append(matter)
        if not as_json:
            click.echo(f"{matter.state:<8}{matter.name}: {matter.text}")
    if as_json:
        content = {"matters": [dataclasses.asdict(matter) for matter in found]}
        click.echo(json.dumps(content, indent=2))
    states = {matter.state for matter in found}
    raise SystemExit(1 if _WRONG in states else _WARNINGS if _WARNING in states else 0)


def matters(config_path: Path) -> Iterator[Matter]:
    group = "imagemanager.json"
    with _warnings_heard() as heard:
        try:
            config = configuration.load(config_path)
            own_account.become(config)
            # What another user may not do there is no fault of the gateway's.
            if (account := own_account.elsewhere(config)) is not None:
                words = f"only root and the gateway's account ({account}) can look at it: use sudo"
                yield Matter(group, "account", _SKIPPED, words)
                return
            config_check.require_usable(config)
        except ConfigError as error:
            yield Matter(group, "file", _WRONG, str(error))
            return
    for text in heard:
        yield Matter(group, "file", _WARNING, text)
    for doubt in config_check.doubts(config):
        yield Matter(group, "file", _WARNING, doubt)
    counts = f"systems: {len(config.systems)}, locations: {len(config.locations)}"
    yield Matter(group, "file", _OK, f"{config_path} can be used ({counts})")
    yield _account(config)
    yield from _servers(config)
    yield from _registries(config)
    yield from _remote_systems(config)
    yield from _disks(config)
    yield from _programs(config)


def _account(config: GatewayConfig) -> Matter:
    name = "account"
    if os.geteuid() == 0:
        return Matter(
            "imagemanager.json", name, _WARNING,
            f"{config.cache_directory} is root's, and the gateway needs no root: give it an "
            "account of its own, and the directory to that",
        )  # fmt: skip
    return Matter("imagemanager.json", name, _OK, f"the gateway's account is uid {os.geteuid()}")


def _servers(config: GatewayConfig) -> Iterator[Matter]:
    group = "servers"
    catalog = open_catalog(config)
    readiness = Readiness(config, catalog)
    what = {
        "catalog": "MongoDB answers, and can be written"
        if config.mongodb else f"{config.catalog_path} can be read and written",
        "broker": "Redis answers",
    }  # fmt: skip
    is_there = True
    for part, look in readiness.checks().items():
        kind = part.partition(".")[0]
        words = what.get(kind) or ("makes credentials" if kind == "munge" else "can be written")
        matter = _of(group, part, look, words)
        is_there = is_there and (part != "catalog" or matter.state == _OK)
        yield matter
    if not is_there:
        return
    for system, reason in readiness.late().items():
        yield Matter(group, f"workers.{system}", _WARNING, reason)
    if config.mongodb is None:
        if is_served(config):
            yield Matter(group, "gateway", _OK, "shifter-gateway serve runs on this host")
        else:
            words = "no gateway runs on this catalog: start shifter-gateway serve (systemd unit)"
            yield Matter(group, "gateway", _WARNING, words)


def _registries(config: GatewayConfig) -> Iterator[Matter]:
    for place in config.locations.values():

        def look(place: configuration.LocationConfig = place) -> None:
            try:
                require_registry(Endpoint(place.url, place.ca_file, place.auth_method.value))
            except RegistryUnreachableError as error:
                raise RegistryError(
                    f"{error}: look after network, name service and proxy of this host, or take "
                    "the location out of the file"
                ) from error

        yield _of("registries", f"Locations.{place.name}", look, f"{place.url} answers")


def _remote_systems(config: GatewayConfig) -> Iterator[Matter]:
    for system in config.systems.values():
        if system.access_type is AccessType.LOCAL:
            continue  # see `_servers`
        look = open_delivery(system, config).require_usable
        words = f"{system.image_dir} can be written by ssh"
        yield _of("servers", f"images.{system.name}", look, words)


def _disks(config: GatewayConfig) -> Iterator[Matter]:
    group = "disks"
    places = {"CacheDirectory": config.cache_directory, "ExpandDirectory": config.expand_directory}
    for system in config.systems.values():
        if system.access_type is AccessType.LOCAL:
            places[f"imageDir of {system.name}"] = system.image_dir
    for name, path in places.items():
        if name == "ExpandDirectory" and not path.exists():
            continue  # most sites use none
        try:
            found = os.statvfs(path)
        except OSError as error:
            text = f"{path}: {error.strerror}: create it, owned by the gateway's account"
            yield Matter(group, name, _WRONG, text)
            continue
        free = found.f_bavail * found.f_frsize
        total = found.f_blocks * found.f_frsize or 1
        text = f"{path}: {units.size(free)} free of {units.size(total)}"
        if found.f_files and found.f_favail < found.f_files * _LITTLE_PART:
            text = f"{text}, and {found.f_favail} inodes of {found.f_files}: remove files"
            yield Matter(group, name, _WARNING, text)
        elif free < _LITTLE_SPACE and free < total * 2 * _LITTLE_PART:
            text = f"{text}: expire images, or lower CacheSize (shifter-admin gc)"
            yield Matter(group, name, _WARNING, text)
        else:
            yield Matter(group, name, _OK, text)


def _programs(config: GatewayConfig) -> Iterator[Matter]:
    wanted = dict(_PROGRAMS.get(formats.spelled(config.default_format), {}))
    if config.import_users:
        wanted |= _IMPORT_PROGRAMS
    if any(system.ssh is not None for system in config.systems.values()):
        wanted |= _SSH_PROGRAMS
    for name, package in wanted.items():
        path = shutil.which(name)
        if path is None:
            words = f"is missing: install the package {package}"
            yield Matter("programs", name, _WRONG, words)
        else:
            yield Matter("programs", name, _OK, path)


def _of(group: str, name: str, look: Callable[[], None], words: str) -> Matter:
    try:
        look()
    except (ShifterError, MungeError) as error:
        return Matter(group, name, _WRONG, without_secrets(error))
    return Matter(group, name, _OK, words)


class _warnings_heard:  # noqa: N801 - a context manager
    """The warnings that reading a configuration gives, instead of on standard error."""

    def __enter__(self) -> list[str]:
        texts: list[str] = []

        class Listener(logging.Handler):
            def emit(self, record: logging.LogRecord) -> None:
                texts.append(record.getMessage())

        self._listener = Listener(logging.WARNING)
        self._logger = logging.getLogger("shifter_imagegw.config")
        self._propagates = self._logger.propagate
        self._logger.propagate = False
        self._logger.addHandler(self._listener)
        return texts

    def __exit__(self, *_: object) -> None:
        self._logger.removeHandler(self._listener)
        self._logger.propagate = self._propagates
