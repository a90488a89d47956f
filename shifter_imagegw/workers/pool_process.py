# SPDX-License-Identifier: BSD-3-Clause
"""A child of a Celery worker: it does the job that a nudge was about, or none if others did it."""

from __future__ import annotations

import logging
import os
import signal
import threading
from collections.abc import Collection
from types import FrameType

from shifter_imagegw.catalog.opening import open_catalog
from shifter_imagegw.catalog.per_process import opened_when_asked
from shifter_imagegw.config import GatewayConfig
from shifter_imagegw.credentials import Sealer
from shifter_imagegw.process_names import worker_name
from shifter_imagegw.workers import tasks
from shifter_imagegw.workers.duties import GatewayDuties
from shifter_imagegw.workers.sweep import Sweeper
from shifter_imagegw.workers.worker import Stopped

log = logging.getLogger(__name__)

# From the main process, to children with and without a job; Celery has uses of its own for others.
STOP = signal.SIGUSR2

_STOP_SECONDS = 6.0  # that a job may take to let go


class PoolProcess:
    """Works, one nudge after the other, and lets go of its job when told to stop.

    It leaves ending to Celery; but where the job does not let go (it may wait for a server that has
    fallen silent) the process gives the job back and ends, whatever it is doing.
    """

    def __init__(self, config: GatewayConfig, sealer: Sealer, served: Collection[str]) -> None:
        name = worker_name(os.getpid())
        assert name is not None  # it is this process
        self._systems = config.systems
        self._usage_kept = config.usage
        self._served = served  # some of them; this host need not have the directories of others
        self._catalog = opened_when_asked(lambda: open_catalog(config))
        self._duties = GatewayDuties(config, self._catalog, sealer, name)
        self._nudges = tasks.nudges_of(config)
        self._name = name
        self._is_working = False
        self._stopping = threading.Event()

    def start(self) -> None:
        # Made beforehand, because a signal's handler must not start a thread.
        threading.Thread(target=self._end_in_time, name="end", daemon=True).start()
        signal.signal(STOP, self._stop)
        Sweeper(
            self._catalog,
            systems=self._systems,
            nudges=self._nudges,
            places=list(self._duties.deliveries.values()),
            chores=[self._duties.trim_cache],
            usage_kept=self._usage_kept,
        ).start()

    def work(self, system: str) -> None:
        """Do one job of a system, if there is one."""
        if system not in self._served:  # a message may hold anything
            log.warning("nudge ignored system=%.80r reason=%s", system, "this worker serves others")
            return
        # An idle child takes SIGTERM as Celery has it, which is to end.
        before = signal.signal(signal.SIGTERM, self._stop)
        try:
            self._work(system)
        finally:
            signal.signal(signal.SIGTERM, before)
        if self._stopping.is_set() and self._nudges is not None:
            self._nudges(system)  # for another worker, or the next start

    def _work(self, system: str) -> None:
        worker = self._duties.worker_of([system])
        try:
            self._is_working = True
            if not self._stopping.is_set():
                worker.work_once()
            self._is_working = False
        except Stopped:
            self._is_working = False
            worker.give_back()
            log.info("job given back system=%s", system)

    def _stop(self, _number: int, _frame: FrameType | None) -> None:
        if self._stopping.is_set():
            return
        self._stopping.set()
        if self._is_working:
            raise Stopped

    def _end_in_time(self) -> None:
        self._stopping.wait()
        threading.Event().wait(_STOP_SECONDS)
        log.warning("process ends with its job under way")
        try:
            self._catalog.give_back(self._name)
        finally:
            os.kill(os.getpid(), signal.SIGKILL)
