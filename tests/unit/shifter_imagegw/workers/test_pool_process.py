# SPDX-License-Identifier: BSD-3-Clause
from __future__ import annotations

import os
import signal
import threading

import pytest

from shifter_imagegw.credentials import Sealer, new_key
from shifter_imagegw.records import NewPull, PullState
from shifter_imagegw.workers import pool_process
from shifter_imagegw.workers.duties import GatewayDuties
from shifter_imagegw.workers.pool_process import STOP, PoolProcess
from tests.unit.shifter_imagegw.conftest import make_config

SYSTEM = "mycluster"


@pytest.fixture
def process(tmp_path, monkeypatch):
    """A child of a Celery worker, without its threads; `nudged` is whom it has told."""
    before = signal.getsignal(STOP), signal.getsignal(signal.SIGTERM)
    monkeypatch.setattr(pool_process.Sweeper, "start", lambda _: None)
    monkeypatch.setattr(PoolProcess, "_end_in_time", lambda _: None)
    process = PoolProcess(make_config(tmp_path), Sealer(new_key()), [SYSTEM])
    process.nudged = []
    process._nudges = process.nudged.append
    process.start()
    yield process
    process._catalog.close()
    signal.signal(STOP, before[0])
    assert signal.getsignal(signal.SIGTERM) == before[1]


@pytest.fixture
def pull(process):
    new = NewPull(system=SYSTEM, image_type="docker", pull_tag="x:1", format="squashfs", puller=7)
    process._catalog.add_pull(new, 1.0)
    return lambda: process._catalog.find_pull(SYSTEM, "docker", "x:1")


@pytest.mark.parametrize("number", [STOP, signal.SIGTERM])
def test_a_child_that_is_told_to_stop_gives_its_job_back(process, pull, monkeypatch, number):
    def be_stopped(_self, lease):
        os.kill(os.getpid(), number)
        threading.Event().wait(10)

    monkeypatch.setattr(GatewayDuties, "pull", be_stopped)

    process.work(SYSTEM)

    assert pull().state is PullState.PENDING
    assert pull().attempts == 0
    assert process._catalog.workers() == []
    assert process.nudged == [SYSTEM]


def test_a_child_that_is_stopping_takes_no_job_and_passes_the_nudge_on(process, pull):
    os.kill(os.getpid(), STOP)

    process.work(SYSTEM)

    assert pull().attempts == 0
    assert process.nudged == [SYSTEM]


def test_a_nudge_is_for_one_job(process, pull, monkeypatch):
    monkeypatch.setattr(
        GatewayDuties, "pull", lambda self, lease: self._catalog.fail(lease.claim, "done")
    )

    process.work(SYSTEM)

    assert pull().status_message == "done"
    assert process.nudged == []


def test_a_nudge_without_a_job_does_nothing(process):
    process.work(SYSTEM)

    assert process.nudged == []


@pytest.mark.parametrize("system", ["another", None, 3], ids=str)
def test_a_nudge_for_a_system_that_is_not_served_is_ignored(process, caplog, system):
    process.work(system)

    assert f"nudge ignored system={system!r}" in caplog.text
