# SPDX-License-Identifier: BSD-3-Clause
"""What each process of the embedded gateway does.

A connection to the catalog belongs to the process that opened it: the supervisor holds none while
it forks, and every child opens its own.
"""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import socket
from collections.abc import Mapping
from functools import partial
from typing import TYPE_CHECKING

from shifter_imagegw import expire, sweep
from shifter_imagegw.api import Api
from shifter_imagegw.app import create_app
from shifter_imagegw.catalog.sqlite import SqliteCatalog
from shifter_imagegw.config import GatewayConfig
from shifter_imagegw.credentials import KEY_VARIABLE, Sealer, new_key
from shifter_imagegw.delivery.local import LocalDelivery
from shifter_imagegw.errors import CatalogError, ConfigError
from shifter_imagegw.lease import Lease
from shifter_imagegw.pull import Pull
from shifter_imagegw.registry import BlobCache
from shifter_imagegw.supervisor import Role, Supervisor
from shifter_imagegw.worker import Worker, stopped_by

if TYPE_CHECKING:
    from flask import Flask

log = logging.getLogger(__name__)


def supervisor(
    config: GatewayConfig, listener: socket.socket, *, workers: int, api_workers: int
) -> Supervisor:
    """Of `workers` processes that pull and `api_workers` that answer on `listener`."""
    sealer = sealer_of(os.environ)
    api = Role(name="api", main=partial(run_api, config, sealer, listener, api_workers))
    pull = partial(run_worker, config, sealer, listener)
    pulls = [Role(name=f"worker{number}", main=pull) for number in range(1, workers + 1)]
    return Supervisor([api, *pulls], upkeep=partial(recover, config))


def run_api(config: GatewayConfig, sealer: Sealer, listener: socket.socket, processes: int) -> None:
    Api(listener, partial(make_app, config, sealer), processes=processes).run()


def make_app(config: GatewayConfig, sealer: Sealer) -> Flask:
    return create_app(config, SqliteCatalog(config.catalog_path), sealer)


def run_worker(config: GatewayConfig, sealer: Sealer, listener: socket.socket) -> None:
    listener.close()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the supervisor
    name = sweep.worker_name(os.getpid())
    assert name is not None  # it is this process
    catalog = SqliteCatalog(config.catalog_path)
    deliveries = deliveries_of(config)
    cache = BlobCache(config.cache_directory)

    def pull(lease: Lease) -> None:
        sealed = lease.claim.sealed_credentials
        Pull(
            lease,
            sealer.unseal(sealed) if sealed else {},
            worker=name,
            config=config,
            catalog=catalog,
            delivery=deliveries[lease.claim.record.system],
            cache=cache,
        ).run()

    def remove(lease: Lease) -> None:
        expire.run(
            lease,
            catalog=catalog,
            delivery=deliveries[lease.claim.record.system],
            lock_directory=config.cache_directory / "locks",
        )

    with stopped_by(signal.SIGTERM):
        Worker(name, catalog, list(config.systems), pull=pull, expire=remove).run()


def recover(config: GatewayConfig) -> None:
    """What dead workers left behind; the connection is closed before the next fork()."""
    try:
        catalog = SqliteCatalog(config.catalog_path)
        with contextlib.closing(catalog):
            sweep.run(catalog, deliveries_of(config).values())
    except CatalogError as error:
        log.error("recovery postponed reason=%s", error)


def deliveries_of(config: GatewayConfig) -> Mapping[str, LocalDelivery]:
    return {name: LocalDelivery(name, system.image_dir) for name, system in config.systems.items()}


def sealer_of(environment: Mapping[str, str]) -> Sealer:
    """With a key of this start's own, or the site's, under which logins outlive a restart."""
    try:
        return Sealer(environment.get(KEY_VARIABLE) or new_key())
    except ValueError as error:
        raise ConfigError(f"{KEY_VARIABLE} holds no key: {error}") from error
