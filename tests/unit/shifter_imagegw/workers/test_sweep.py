# SPDX-License-Identifier: BSD-3-Clause
from __future__ import annotations

import os
import time
from datetime import timedelta

import pytest

from shifter_imagegw import process_names
from shifter_imagegw.delivery.local import LocalDelivery
from shifter_imagegw.errors import CatalogError, DeliveryError
from shifter_imagegw.process_names import worker_name
from shifter_imagegw.records import NewPull
from shifter_imagegw.workers import sweep
from shifter_imagegw.workers.sweep import Sweeper

SYSTEM = "cori"
TAG = "lib/foo:1"
IMAGE_ID = "ab" * 32
NAME = "node1:4711:99"
HOUR = timedelta(hours=1)


def dead_worker():
    """The name of a process of this machine that has ended."""
    host, pid, start = worker_name(os.getpid()).rsplit(":", 2)
    return f"{host}:{pid}:{int(start) + 1}"


class Queue:
    """Nudges that are counted, and `waiting` of them that nobody has heard yet."""

    def __init__(self, waiting=0):
        self.waiting = waiting
        self.sent = []

    def __call__(self, system):
        self.sent.append(system)

    def count(self, system):
        return self.waiting


def add_pulls(catalog, count):
    for number in range(count):
        new = NewPull(system=SYSTEM, image_type="docker", pull_tag=f"x:{number}", format="squashfs")
        catalog.add_pull(new, now=1.0)


def test_a_sweep_gives_jobs_of_dead_workers_back_and_removes_their_files(catalog, pull, tmp_path):
    delivery = LocalDelivery(SYSTEM, tmp_path)
    host, pid, start = worker_name(os.getpid()).rsplit(":", 2)
    dead = f"{host}:{pid}:{int(start) + 1}"
    catalog.claim([SYSTEM], dead, HOUR, now=1.0)
    half = tmp_path / f".{IMAGE_ID}.squashfs.{dead}.partial"
    half.write_bytes(b"half")

    sweep.run(catalog, [delivery])

    assert not half.exists()
    assert catalog.claim([SYSTEM], NAME, HOUR, now=1.0) is not None


def test_a_sweep_leaves_living_workers_alone(catalog, pull, tmp_path):
    delivery = LocalDelivery(SYSTEM, tmp_path)
    living = worker_name(os.getpid())
    catalog.claim([SYSTEM], living, HOUR, now=1.0)
    half = tmp_path / f".{IMAGE_ID}.squashfs.{living}.partial"
    half.write_bytes(b"half")

    sweep.run(catalog, [delivery])

    assert half.exists()
    assert catalog.workers() == [living]


@pytest.mark.parametrize(("hours", "remains"), [(0.5, True), (2, False)])
def test_a_partial_file_of_an_idle_worker_of_another_machine_is_kept_for_an_hour(
    catalog, tmp_path, hours, remains
):
    half = tmp_path / f".{IMAGE_ID}.squashfs.another-host:1:1.partial"
    half.write_bytes(b"half")
    written = time.time() - hours * 3600
    os.utime(half, (written, written))

    sweep.run(catalog, [LocalDelivery(SYSTEM, tmp_path)])

    assert half.exists() is remains


def test_a_partial_file_of_a_worker_of_another_machine_that_has_a_job_is_kept(
    catalog, pull, tmp_path
):
    catalog.claim([SYSTEM], "another-host:1:1", HOUR, now=1.0)
    half = tmp_path / f".{IMAGE_ID}.squashfs.another-host:1:1.partial"
    half.write_bytes(b"half")
    os.utime(half, (1.0, 1.0))

    sweep.run(catalog, [LocalDelivery(SYSTEM, tmp_path)])

    assert half.exists()


@pytest.mark.parametrize(
    ("jobs", "waiting", "sent"),
    [(3, 0, 3), (3, 2, 1), (2, 2, 0), (1, 5, 0), (0, 0, 0), (2, None, 0)],
)
def test_every_job_that_nobody_was_told_of_gets_a_nudge_and_no_more(catalog, jobs, waiting, sent):
    add_pulls(catalog, jobs)
    queue = Queue(waiting)

    sweep.nudge(catalog, [SYSTEM], queue)

    assert queue.sent == [SYSTEM] * sent


def test_a_job_that_is_worked_on_gets_no_nudge(catalog, pull):
    catalog.claim([SYSTEM], NAME, HOUR, now=time.time())
    queue = Queue()

    sweep.nudge(catalog, [SYSTEM], queue)

    assert queue.sent == []


def test_a_job_of_a_dead_worker_is_given_back_and_nudged_in_one_sweep(catalog, pull):
    catalog.claim([SYSTEM], dead_worker(), HOUR, now=time.time())
    queue = Queue()

    Sweeper(catalog, systems=[SYSTEM], nudges=queue).sweep()

    assert catalog.workers() == []
    assert queue.sent == [SYSTEM]


def test_only_the_process_that_is_elected_sweeps(catalog, pull, monkeypatch):
    queue = Queue()
    sweeper = Sweeper(catalog, systems=[SYSTEM], nudges=queue)
    role = f"sweep:{process_names.machine()}"
    assert catalog.elect(role, "another process", HOUR, time.time())

    sweeper.sweep()

    assert queue.sent == []


def test_processes_of_different_places_elect_their_own(catalog, pull, monkeypatch):
    queue = Queue()
    assert catalog.elect("sweep:another machine", "another process", HOUR, time.time())

    Sweeper(catalog, systems=[SYSTEM], nudges=queue).sweep()

    assert queue.sent == [SYSTEM]


class SlowPlace:
    """Takes its time to say that there is nothing."""

    def __init__(self):
        self.asked = 0

    def partials(self):
        self.asked += 1
        time.sleep(0.02)
        return []


def test_a_place_that_is_slow_to_list_is_left_in_peace_for_a_while(catalog):
    place = SlowPlace()
    sweeper = Sweeper(catalog, places=[place])

    sweeper.clean()
    sweeper.clean()

    assert place.asked == 1


def test_a_place_that_cannot_be_reached_keeps_no_other_from_being_cleaned(catalog, tmp_path):
    class Broken:
        def partials(self):
            raise DeliveryError("cannot read it")

    half = tmp_path / f".{IMAGE_ID}.squashfs.{dead_worker()}.partial"
    half.write_bytes(b"half")

    Sweeper(catalog, places=[Broken(), LocalDelivery(SYSTEM, tmp_path)]).clean()

    assert not half.exists()


def test_a_catalog_that_is_away_is_complained_of_once(caplog, monkeypatch):
    rounds = iter(range(3))

    def step():
        if next(rounds, None) is None:
            raise SystemExit
        raise CatalogError("the catalog is away")

    monkeypatch.setattr(sweep.time, "sleep", lambda _: None)

    with pytest.raises(SystemExit):
        sweep._repeat("sweep", step, 1.0)

    assert caplog.text.count("the catalog is away") == 1


def test_stock_is_taken_every_now_and_then_by_one_process(catalog, monkeypatch):
    taken = []
    monkeypatch.setattr(sweep.usage, "take_stock", lambda *arguments: taken.append(arguments[1:3]))
    first, second = (
        Sweeper(catalog, systems=[SYSTEM], usage_kept=timedelta(days=9)) for _ in range(2)
    )
    assert not taken
    first.sweep()
    first.sweep()
    monkeypatch.setattr(sweep, "worker_name", lambda _pid: "another process")
    second.sweep()

    assert taken == [([SYSTEM], timedelta(days=9))]
