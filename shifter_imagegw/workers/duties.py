# SPDX-License-Identifier: BSD-3-Clause
"""What a worker does with the jobs that it claims, on every system."""

from __future__ import annotations

import logging
import os
from collections.abc import Collection, Mapping

from shifter_imagegw.catalog import Catalog
from shifter_imagegw.config import GatewayConfig
from shifter_imagegw.credentials import Sealer
from shifter_imagegw.delivery import Delivery
from shifter_imagegw.delivery.opening import open_delivery
from shifter_imagegw.operation import logs, telemetry
from shifter_imagegw.pulling import acl, expire
from shifter_imagegw.pulling.lease import Lease
from shifter_imagegw.pulling.pull import Pull, warn_of
from shifter_imagegw.registry import BlobCache, RegistryError
from shifter_imagegw.workers.worker import IDLE_SECONDS, Worker

log = logging.getLogger(__name__)

# Between two looks of an embedded worker into an empty queue: a server is asked less often.
_IDLE_SECONDS_OF_A_SERVER = 0.5


class GatewayDuties:
    """Pulls images, and removes them; `worker` is the name under which partial files are kept."""

    def __init__(
        self, config: GatewayConfig, catalog: Catalog, sealer: Sealer, worker: str
    ) -> None:
        self._config = config
        self._catalog = catalog
        self._sealer = sealer
        self._worker = worker
        self._cache = BlobCache(config.cache_directory)
        self.deliveries = deliveries_of(config)
        telemetry.configure(config.cache_directory)
        warn_of(os.environ)

    def pull(self, lease: Lease) -> None:
        sealed = lease.claim.sealed_credentials
        logins = self._sealer.unseal(sealed) if sealed else {}
        logs.conceal(logins.values())
        try:
            self._pull(lease, logins)
        finally:
            self.trim_cache()

    def trim_cache(self) -> None:
        """Keep the blob cache within the site's bound."""
        try:
            report = self._cache.trim(self._config.limits.cache_bytes)
        except RegistryError as error:
            log.warning("cache not trimmed reason=%s", error)
            return
        if report.removed_blobs:
            log.info(
                "cache trimmed blobs=%d bytes=%d left=%d",
                report.removed_blobs,
                report.removed_bytes,
                report.bytes,
            )

    def _pull(self, lease: Lease, logins: Mapping[str, str]) -> None:
        Pull(
            lease,
            logins,
            worker=self._worker,
            config=self._config,
            catalog=self._catalog,
            delivery=self.deliveries[lease.claim.record.system],
            cache=self._cache,
        ).run()

    def expire(self, lease: Lease) -> None:
        expire.run(
            lease,
            catalog=self._catalog,
            delivery=self.deliveries[lease.claim.record.system],
        )

    def change_acl(self, lease: Lease) -> None:
        acl.run(
            lease,
            catalog=self._catalog,
            delivery=self.deliveries[lease.claim.record.system],
        )

    def worker_of(self, systems: Collection[str]) -> Worker:
        """One that takes jobs of these systems only."""
        is_server = self._config.mongodb is not None
        return Worker(
            self._worker,
            self._catalog,
            systems,
            self,
            limit=self._config.limits.pull,
            idle_seconds=_IDLE_SECONDS_OF_A_SERVER if is_server else IDLE_SECONDS,
        )


def deliveries_of(config: GatewayConfig) -> Mapping[str, Delivery]:
    return {name: open_delivery(system, config) for name, system in config.systems.items()}
