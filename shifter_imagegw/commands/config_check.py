# SPDX-License-Identifier: BSD-3-Clause
"""`shifter-gateway config check`: what an imagemanager.json means, and what is wrong with it."""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click

from shifter_common.errors import ShifterError
from shifter_imagegw import config as configuration
from shifter_imagegw import formats, units
from shifter_imagegw.commands import own_account
from shifter_imagegw.commands.options import config_option, json_option
from shifter_imagegw.config import Authentication, GatewayConfig, SystemConfig
from shifter_imagegw.credentials import KEY_VARIABLE, sealer_of
from shifter_imagegw.delivery.opening import open_delivery
from shifter_imagegw.errors import ConfigError
from shifter_imagegw.rules import accounts

_log = logging.getLogger(__name__)


@click.command(short_help="Say what the file means, and what is wrong with it.")
@config_option
@json_option
def check(config_path: Path, as_json: bool) -> None:
    """Read imagemanager.json, say what it means, and what is wrong with it.

    What is wrong ends it with 1; what may only not be there yet is a warning. No server is asked:
    `shifter-gateway status` does that.

    \b
    Examples:
      shifter-gateway config check --config /etc/shifter/imagemanager.json
      GWCONFIG=imagemanager.json shifter-gateway config check --json
    """
    logging.basicConfig(format="%(levelname)s: %(message)s")
    config = configuration.load(config_path)
    own_account.become(config)
    try:
        require_usable(config)
    except ConfigError as error:
        raise ConfigError(f"{config_path}: {error}") from None
    found = meaning(config)
    for doubt in doubts(config):
        _log.warning("%s", doubt)
    if as_json:
        click.echo(json.dumps(found, indent=2))
        return
    for name, value in found.items():
        for text in value if isinstance(value, list) else [value]:
            click.echo(f"{name}: {text}")
    systems, locations = len(config.systems), len(config.locations)
    click.echo(f"{config_path}: good (systems: {systems}, locations: {locations})")


def require_usable(config: GatewayConfig) -> None:
    """Complain of what can be read but not done."""
    sealer_of(config, os.environ)
    for format in {config.default_format, *config.converter_options}:
        key = "ConverterOptions" if format in config.converter_options else "DefaultImageFormat"
        try:
            formats.check_options(format, config.converter_options.get(format, ()))
        except ConfigError as error:
            text = str(error)
            raise ConfigError(text if text.startswith(key) else f"{key}: {text}") from None
    if config.examiner is not None and not os.access(config.examiner, os.X_OK):
        program = str(config.examiner)
        raise ConfigError(f"examiner: {program!r} is not executable, so every pull would fail")


def doubts(config: GatewayConfig) -> Iterator[str]:
    """What pulls will miss, if it is not there by the time of the first one."""
    if not config.mongodb and config.broker:
        yield "Broker without MongoDBURI: the SQLite file serves workers on this host only"
    # What another user may not do there is no fault of the gateway's.
    account = own_account.elsewhere(config)
    if account is not None:
        yield (
            "image directories and keys of ssh were not looked at, which only root and the "
            f"gateway's account ({account}) can do: run this by sudo"
        )
    for system in config.systems.values():
        name = f"Platforms.{system.name}"
        if account is not None:
            pass
        elif system.ssh is None:
            try:
                open_delivery(system, config).require_usable()
            except ShifterError as error:
                yield f"{name}: {error}"
        elif system.ssh.key is not None and not os.access(system.ssh.key, os.R_OK):
            yield f"{name}.ssh.key: {str(system.ssh.key)!r} cannot be read by the gateway's account"
        socket = system.munge_socket
        if config.authentication is Authentication.MUNGE and socket and not socket.is_socket():
            yield f"{name}.mungeSocketPath: no munge daemon listens at {str(socket)!r}"
        for admin in system.admins:
            if accounts.uid_of(admin) is None:
                yield f"{name}.admins: there is no user {admin!r} on this host"


def meaning(config: GatewayConfig) -> dict[str, Any]:
    """The decisions that the file makes, without a password."""
    if config.mongodb is None:
        catalog = f"SQLite file {config.catalog_path}"
    else:
        catalog = f"MongoDB, database {config.mongodb.database!r}"
    return {
        "catalog": catalog,
        "broker": "Redis" if config.broker else "none: workers look into the catalog themselves",
        "key": _key_of(config),
        "web page": _page_of(config),
        "authentication": config.authentication.value,
        "format": config.default_format,
        "examiner": str(config.examiner) if config.examiner else "none",
        "cache": f"{config.cache_directory}, at most {units.size(config.limits.cache_bytes)}",
        "locations": [f"{place.name} at {place.url}" for place in config.locations.values()],
        "systems": [_place_of(system) for system in config.systems.values()],
    }


def _key_of(config: GatewayConfig) -> str:
    if os.environ.get(KEY_VARIABLE):
        return KEY_VARIABLE
    if config.key_file:
        return str(config.key_file)
    return (
        "none: serve makes one at each start; with api, pulls that need a login are refused, and "
        "nobody can log in to the web page"
    )


def _page_of(config: GatewayConfig) -> str:
    if not config.web_page:
        return "none"
    where = config.web_url or "wherever the gateway is reached"
    shown = "public images to everybody" if config.allow_anonymous else "nothing"
    return f"{where}; before a login it shows {shown}"


def _place_of(system: SystemConfig) -> str:
    if system.ssh is None:
        return f"{system.name} in {system.image_dir}"
    account = f"{system.ssh.username}@" if system.ssh.username else ""
    hosts = ", ".join(f"{account}{host}" for host in system.ssh.hosts)
    which = "each of" if system.ssh.every_host else "the first that answers of"
    return f"{system.name} in {system.image_dir} by ssh on {which} {hosts}"
