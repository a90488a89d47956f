# SPDX-License-Identifier: BSD-3-Clause
"""What each process of the embedded gateway does, and those of an API of its own.

A connection to the catalog belongs to the process that opened it: the supervisor has none, and
every child opens its own.
"""

from __future__ import annotations

import os
import signal
import socket
from functools import partial
from typing import TYPE_CHECKING

from shifter_imagegw.api.application import create_app
from shifter_imagegw.api.server import Api
from shifter_imagegw.catalog.opening import open_catalog
from shifter_imagegw.catalog.per_process import opened_when_asked
from shifter_imagegw.config import GatewayConfig
from shifter_imagegw.credentials import Sealer, embedded_sealer_of
from shifter_imagegw.process_names import worker_name
from shifter_imagegw.workers.duties import GatewayDuties
from shifter_imagegw.workers.supervisor import Role, Supervisor
from shifter_imagegw.workers.sweep import Sweeper
from shifter_imagegw.workers.tasks import nudges_of
from shifter_imagegw.workers.worker import stopped_by

if TYPE_CHECKING:
    from flask import Flask


def supervisor(
    config: GatewayConfig, listener: socket.socket, *, workers: int, api_workers: int
) -> Supervisor:
    """Of `workers` processes that pull and `api_workers` that answer on `listener`."""
    sealer = embedded_sealer_of(config, os.environ)
    api = Role(name="api", main=partial(run_api, config, sealer, listener, api_workers))
    pull = partial(run_worker, config, sealer, listener)
    pulls = [Role(name=f"worker{number}", main=pull) for number in range(1, workers + 1)]
    return Supervisor([api, *pulls])


def run_api(
    config: GatewayConfig,
    sealer: Sealer,
    listener: socket.socket,
    processes: int,
    *,
    embedded: bool = True,
) -> None:
    """Answer requests, in `processes` children of this one."""
    make = partial(make_app, config, sealer, embedded=embedded)
    Api(listener, make, processes=processes).run()


def make_app(config: GatewayConfig, sealer: Sealer, *, embedded: bool) -> Flask:
    """The application; workers of an embedded gateway look for jobs, and all others are nudged."""
    catalog = opened_when_asked(lambda: open_catalog(config))
    nudges = None if embedded else nudges_of(config)
    app = create_app(config, catalog, sealer, **({"nudge": nudges} if nudges else {}))
    sweeper = Sweeper(catalog, systems=config.systems, nudges=nudges)
    app.before_request(sweeper.start_once)
    return app


def run_worker(config: GatewayConfig, sealer: Sealer, listener: socket.socket) -> None:
    """Do jobs of all systems until SIGTERM, and sweep up after workers that died."""
    listener.close()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the supervisor
    name = worker_name(os.getpid())
    assert name is not None  # it is this process
    catalog = opened_when_asked(lambda: open_catalog(config))
    duties = GatewayDuties(config, catalog, sealer, name)
    with stopped_by(signal.SIGTERM):
        Sweeper(
            catalog,
            systems=config.systems,
            places=[*duties.deliveries.values()],
            chores=[duties.trim_cache],
            usage_kept=config.usage,
        ).start()
        duties.worker_of(config.systems).run()
