# SPDX-License-Identifier: BSD-3-Clause
"""For Celery: `celery -A shifter_imagegw.celery_app worker -Q <system>`, configured by $GWCONFIG.

The main process talks to the broker; each of its children (`pool_process`) does one job at a time.
When the main process is told to end, its children give their jobs back to the catalog: nobody waits
for hours until they are done.
"""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from celery import Celery, signals

from shifter_imagegw import config as configuration
from shifter_imagegw.config import GatewayConfig
from shifter_imagegw.credentials import sealer_of
from shifter_imagegw.errors import ConfigError
from shifter_imagegw.operation import logs
from shifter_imagegw.workers import tasks
from shifter_imagegw.workers.pool_process import STOP, PoolProcess

_PRIVATE = 0o077  # layers of private images are nobody else's business


def make(environment: Mapping[str, str]) -> Celery:
    """The application, with its task, for the configuration that $GWCONFIG names."""
    config = configuration.load(Path(environment.get("GWCONFIG", configuration.CONFIG_FILE)))
    sealer = sealer_of(config, environment)
    app = tasks.worker_app(config)
    workers: list[object] = []  # Celery's, in the main process
    here: list[PoolProcess] = []  # in a child: itself
    served: set[str] = set()  # systems

    def work(system: str) -> None:
        here[0].work(system)

    def configure_logs(**_: object) -> None:
        logs.configure(config, "worker")

    def check(options: Mapping[str, Any], **_: object) -> None:
        served.update(_systems_of(options.get("queues") or (), config))

    def begin(sender: object, **_: object) -> None:
        _require_prefork(sender)
        os.umask(_PRIVATE)
        workers.append(sender)

    def begin_child(**_: object) -> None:
        here.append(PoolProcess(config, sealer, served))
        here[0].start()

    def stop_children(**_: object) -> None:
        for pid in _children_of(workers[0]) if workers else ():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, STOP)

    app.task(work, name=tasks.WORK)
    for event, receiver in (
        (signals.setup_logging, configure_logs),  # and Celery configures none
        (signals.celeryd_init, check),
        (signals.worker_init, begin),
        (signals.worker_process_init, begin_child),
        (signals.worker_shutting_down, stop_children),
    ):
        event.connect(receiver, weak=False, dispatch_uid=f"shifter {receiver.__name__}")
    return app


def _systems_of(queues: str | Sequence[str], config: GatewayConfig) -> set[str]:
    """What a worker serves: the systems that its command line names (-Q), or all."""
    names = set(queues.split(",") if isinstance(queues, str) else queues)
    unknown = sorted(names - set(config.systems))
    if unknown:
        sys.exit(
            f"Error: -Q {unknown[0]}: no such system in Platforms, which has "
            f"{', '.join(sorted(config.systems))}"
        )
    return names or set(config.systems)


def _require_prefork(worker: object) -> None:
    """A job's process must be its own, to be stopped and found dead."""
    pool = getattr(worker, "pool_cls", None)
    if getattr(pool, "__module__", "") != "celery.concurrency.prefork":
        sys.exit("Error: pulls need Celery's prefork pool: start the worker without --pool")


def _children_of(worker: object) -> list[int]:
    pool = getattr(worker, "pool", None)
    if pool is None or pool._pool is None:  # not made yet, or gone already
        return []
    return list(pool.info["processes"])


def _make_or_exit() -> Celery:
    try:
        return make(os.environ)
    except ConfigError as error:
        sys.exit(f"Error: {error}")  # Celery would show a traceback


app = _make_or_exit()
