# SPDX-License-Identifier: BSD-3-Clause
from __future__ import annotations

import threading

import pytest

from shifter_imagegw.records import PullState
from shifter_imagegw.rules.browsing import QueueWatch, ShelfWatch


@pytest.fixture
def asked(gateway):
    def ask(tag="app:1"):
        gateway.request("POST", f"/api/pull/mycluster/docker/{tag}/")

    return ask


@pytest.fixture
def watch(gateway):
    return QueueWatch(gateway.catalog, "mycluster")


def test_a_queue_that_stays_the_same_has_the_same_number(asked, watch):
    asked()
    first = watch()

    assert watch().number == first.number


def test_progress_is_a_change_but_no_job_has_come_or_gone(gateway, asked, watch):
    asked()
    before = watch()

    gateway.catalog.report(gateway.claim(), PullState.PULLING, "", bytes_done=5, bytes_total=9)
    after = watch()

    assert after.number > before.number
    assert after.turn == before.turn


def test_a_job_that_ends_or_comes_is_a_turn(gateway, asked, watch):
    turns = [watch().turn]
    for step in (asked, gateway.work, lambda: asked("other:1"), lambda: gateway.work_badly("no")):
        step()
        turns.append(watch().turn)

    assert turns == [0, 1, 2, 3, 3]  # a failure stays in the queue


def test_images_are_read_again_when_jobs_have_ended_and_not_before(gateway, asked):
    shelf = ShelfWatch(gateway.catalog, "mycluster")
    assert shelf(1).records == ()
    asked()
    gateway.work()

    assert shelf(1).records == ()
    assert [record.tags for record in shelf(2).records] == [("app:1",)]
    assert shelf(2).newest == gateway.clock.now


def test_a_catalog_that_hangs_keeps_nobody_waiting_but_who_asks_it(gateway, monkeypatch):
    shelf = ShelfWatch(gateway.catalog, "mycluster")
    known = shelf(1)
    hangs, goes_on = threading.Event(), threading.Event()

    def hang(system):
        hangs.set()
        goes_on.wait(20)
        return []

    monkeypatch.setattr(gateway.catalog, "list_ready", hang)
    reader = threading.Thread(target=shelf, args=(2,))
    reader.start()
    assert hangs.wait(20)

    assert shelf(2) is known

    goes_on.set()
    reader.join()
