# SPDX-License-Identifier: BSD-3-Clause
"""The queue in front of the workers of each system: it tells them that there is a job.

A message holds nothing but the system's name. Which job is done, and by whom, the catalog decides;
so a message that is lost, late or sent twice does no harm.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Mapping
from datetime import timedelta
from typing import Any

from celery import Celery
from kombu.entity import Exchange, Queue
from kombu.exceptions import KombuError, OperationalError

from shifter_imagegw.config import GatewayConfig
from shifter_imagegw.errors import ConfigError

log = logging.getLogger(__name__)

WORK = "shifter_imagegw.work"  # the one task, with the system's name as its one argument

_ANSWER_SECONDS = 0.4  # what a request may lose when the broker hangs
_REST_SECONDS = 5.0  # for which a broker that is away is not asked again

# A message that a worker took and did not end is given to another after that time, so it must be
# longer than the longest job; nobody waits for it, because the sweep sends another message.
_LONGER_THAN_ANY_JOB = timedelta(hours=1)

# What kombu raises when the broker is away or refuses.
_AWAY = (OSError, KombuError)

_SETTINGS: Mapping[str, Any] = {
    "task_serializer": "json",
    "result_serializer": "json",
    "accept_content": ["json"],
    "result_backend": None,
    "task_ignore_result": True,
    "enable_utc": True,
}


class Nudges:
    """Sends messages to the workers of a system; never raises, and never waits for long."""

    def __init__(self, broker: str, clock: Callable[[], float] = time.monotonic) -> None:
        self._app = Celery("shifter_gateway_nudges", broker=broker, set_as_current=False)
        self._app.conf.update(
            _SETTINGS,
            broker_transport_options={
                "socket_connect_timeout": _ANSWER_SECONDS,
                "socket_timeout": _ANSWER_SECONDS,
                "connect_retries_timeout": _ANSWER_SECONDS,
                "max_retries": 0,
            },
        )
        self._clock = clock
        self._rests_until = -1.0
        self._asking = threading.Lock()

    def __call__(self, system: str) -> None:
        """Tell the workers of a system that there is a job."""
        self._ask(lambda: self._send(system))

    def count(self, system: str) -> int | None:
        """How many messages no worker has taken yet; None while the broker is away."""
        return self._ask(lambda: self._count(system))

    def _send(self, system: str) -> int:
        self._app.send_task(WORK, args=[system], queue=system, retry=False, ignore_result=True)
        return 1

    def _count(self, system: str) -> int:
        with self._app.pool.acquire(block=True) as connection:
            try:
                return int(connection.default_channel.client.llen(system))
            except (*connection.connection_errors, *connection.channel_errors) as error:
                raise OperationalError(str(error)) from error  # as kombu does where it is asked

    def _ask(self, question: Callable[[], int]) -> int | None:
        # One thread finds out that the broker is away, and the others do not wait for it in turn.
        with self._asking:
            if self._clock() < self._rests_until:
                return None
            try:
                return question()
            except _AWAY as error:
                self._rests_until = self._clock() + _REST_SECONDS
                log.warning("broker away reason=%s", error)
                return None


def nudges_of(config: GatewayConfig) -> Nudges | None:
    """None where the site has no broker."""
    return None if config.broker is None else Nudges(config.broker)


def worker_app(config: GatewayConfig) -> Celery:
    """The application that `celery worker` runs, without its task."""
    if config.broker is None:
        raise ConfigError(
            "Broker is missing, and Celery workers need it: set it to the URL of a Redis server, "
            "or start 'shifter-gateway serve', whose workers need none"
        )
    longest = config.limits.pull + _LONGER_THAN_ANY_JOB
    app = Celery("shifter_imagegw", broker=config.broker)
    app.conf.update(
        _SETTINGS,
        # All of them where the command line names none (-Q).
        task_queues=[_queue_of(name) for name in config.systems],
        task_create_missing_queues=False,
        task_acks_late=True,
        task_reject_on_worker_lost=True,
        worker_prefetch_multiplier=1,
        worker_concurrency=config.worker_threads,
        worker_pool="prefork",
        worker_hijack_root_logger=False,
        worker_redirect_stdouts=False,
        worker_send_task_events=False,
        # By it, whoever writes to the broker would stop workers; nothing of ours needs it.
        worker_enable_remote_control=False,
        worker_cancel_long_running_tasks_on_connection_loss=False,
        worker_enable_prefetch_count_reduction=False,
        worker_consumer="shifter_imagegw.workers.celery_consumer:PatientConsumer",
        broker_connection_retry=True,
        broker_connection_retry_on_startup=True,
        broker_connection_max_retries=None,
        broker_transport_options={
            "visibility_timeout": int(longest.total_seconds()),
            "unacked_restore_interval": 5,
            "unacked_restore_throttle": 1,
            "socket_connect_timeout": 2,
            "socket_keepalive": True,
            "health_check_interval": 10,
        },
    )
    return app


def _queue_of(system: str) -> Any:  # noqa: ANN401
    """The same as the one that a nudge goes to."""
    exchange = Exchange(system)  # type: ignore[no-untyped-call]
    return Queue(system, exchange, routing_key=system)  # type: ignore[no-untyped-call]
