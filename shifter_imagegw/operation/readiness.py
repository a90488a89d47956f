# SPDX-License-Identifier: BSD-3-Clause
"""Which part of the gateway is missing now: catalog, broker, munge, image directories, workers."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Mapping

from shifter_common import munge
from shifter_common.errors import MungeError, ShifterError
from shifter_imagegw.catalog import Catalog
from shifter_imagegw.config import AccessType, Authentication, GatewayConfig
from shifter_imagegw.delivery.opening import open_delivery
from shifter_imagegw.errors import GatewayError
from shifter_imagegw.operation.recent import Recent
from shifter_imagegw.operation.redaction import without_secrets
from shifter_imagegw.records import PullState

_BROKER_SECONDS = 2.0
_LATE_SECONDS = 60.0  # that a job waits before somebody should look after the workers


class Readiness:
    """Looks at every part that requests need; a part is known by a name such as `munge.cori`."""

    def __init__(self, config: GatewayConfig, catalog: Catalog) -> None:
        self._config = config
        self._catalog = catalog
        # Anybody may ask.
        self.missing: Recent[Mapping[str, str]] = Recent(self._missing)
        self.late: Recent[Mapping[str, str]] = Recent(self._late)

    def _missing(self) -> Mapping[str, str]:
        """Parts that do not work, with the reason; empty where all do."""
        return {
            part: reason
            for part, check in self.checks().items()
            if (reason := _failure_of(check)) is not None
        }

    def _late(self) -> Mapping[str, str]:
        """Systems whose jobs wait for a worker; requests are answered all the same."""
        if "catalog" in self.missing():
            return {}
        now = time.time()
        found = {}
        for system, jobs in self._catalog.count_claimable(list(self._config.systems), now).items():
            waits = [
                now - record.last_pull
                for record in self._catalog.list_queue(system)
                if record.state is PullState.PENDING and record.last_pull is not None
            ]
            if waits and max(waits) > _LATE_SECONDS:
                found[system] = _lateness(jobs, max(waits))
        return found

    def checks(self) -> dict[str, Callable[[], None]]:
        """What looks at each part, and raises where it does not work."""
        checks: dict[str, Callable[[], None]] = {"catalog": self._catalog.check}
        if self._config.broker is not None:
            checks["broker"] = self._check_broker
        for system in self._config.systems.values():
            if self._config.authentication is Authentication.MUNGE and system.munge_socket:
                checks[f"munge.{system.name}"] = _munge_check(str(system.munge_socket))
            if system.access_type is AccessType.LOCAL:  # workers see whether ssh works
                checks[f"images.{system.name}"] = open_delivery(system, self._config).require_usable
        return checks

    def _check_broker(self) -> None:
        import redis  # here, because it is slow to import, and the embedded gateway has no broker

        url = (self._config.broker or "").replace("redis+socket://", "unix://", 1)
        try:
            with redis.Redis.from_url(
                url, socket_timeout=_BROKER_SECONDS, socket_connect_timeout=_BROKER_SECONDS
            ) as client:
                client.ping()
        except (redis.RedisError, ValueError) as error:
            raise GatewayError(
                f"Redis, at Broker, does not answer: check that it runs, and the password "
                f"({without_secrets(_broker_words(error))})"
            ) from None


def _broker_words(error: Exception) -> str:
    """What the client of Redis says, without the system's number of an error."""
    return re.sub(r"^Error -?\d+ (?:while )?connecting to (\S+)\. ", r"\1: ", str(error)).rstrip(
        "."
    )


def _munge_check(socket: str) -> Callable[[], None]:
    def check() -> None:
        munge.encode(socket=socket)

    return check


def _failure_of(check: Callable[[], None]) -> str | None:
    try:
        check()
    except (ShifterError, MungeError) as error:
        return without_secrets(error)
    return None


def _lateness(jobs: int, seconds: float) -> str:
    return (
        f"{jobs} jobs wait for a worker, the oldest for {seconds:.0f} s: "
        "is one of this system running, and is it busy?"
    )
