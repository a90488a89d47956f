# SPDX-License-Identifier: BSD-3-Clause
from __future__ import annotations

import threading
import time
from datetime import timedelta

import pytest

from shifter_imagegw.details import LayerProgress
from shifter_imagegw.errors import CatalogError, LeaseLostError, PullError
from shifter_imagegw.pulling.lease import Lease
from shifter_imagegw.records import NewPull, PullState

SYSTEM = "cori"
TAG = "lib/foo:1"
IMAGE_ID = "ab" * 32
NAME = "node1:4711:99"
HOUR = timedelta(hours=1)
MOMENT = timedelta(seconds=0.001)


@pytest.fixture
def claim(catalog, pull):
    return catalog.claim([SYSTEM], NAME, HOUR, now=time.time())


def record_of(catalog):
    return catalog.find_pull(SYSTEM, "docker", TAG)


def away(*_arguments, **_options):
    raise CatalogError("the catalog is away")


class Failing:
    """Raises what a catalog raises that is away, the first few times."""

    def __init__(self, step, times):
        self._step = step
        self._times = times

    def __call__(self, *arguments, **options):
        if self._times:
            self._times -= 1
            away()
        return self._step(*arguments, **options)


def test_progress_reaches_the_catalog_from_the_leases_own_thread(catalog, claim, monkeypatch):
    reported = threading.Event()
    report = catalog.report

    def noticed(*arguments, **options):
        report(*arguments, **options)
        if options["bytes_done"] == 5:
            reported.set()

    monkeypatch.setattr(catalog, "report", noticed)

    with Lease(catalog, claim, report_every=MOMENT) as lease:
        lease.enter(PullState.PULLING, "Pulling layers")
        lease.expect_bytes(9)
        lease.add_bytes(7)
        lease.add_bytes(-2)
        assert reported.wait(10)

    record = record_of(catalog)
    assert (record.state, record.bytes_done, record.bytes_total) == (PullState.PULLING, 5, 9)


def test_how_far_each_layer_is_reaches_the_catalog(catalog, claim):
    sizes = {f"sha256:{number}": 10 for number in range(200)}
    with Lease(catalog, claim) as lease:
        lease.expect_layers(sizes)
        lease.add_bytes_of("sha256:1", 7)
        lease.add_bytes_of("sha256:1", -2)
        lease.enter(PullState.PULLING, "Pulling layers")

    record = record_of(catalog)
    assert (record.bytes_done, record.bytes_total) == (5, 2000)
    assert record.layers[:2] == (
        LayerProgress("sha256:0", 10, 0), LayerProgress("sha256:1", 10, 5),
    )  # fmt: skip
    assert len(record.layers) == 128  # no more travel with each answer


def test_a_lease_is_renewed_while_its_body_runs(catalog, claim, monkeypatch):
    renewed = threading.Semaphore(0)
    monkeypatch.setattr(catalog, "renew", lambda *_arguments: renewed.release())

    with Lease(catalog, claim, renew_every=MOMENT, report_every=MOMENT):
        assert renewed.acquire(timeout=10)
        assert renewed.acquire(timeout=10)


def test_every_step_stops_once_the_lease_is_lost(catalog, claim):
    with Lease(catalog, claim) as lease:
        catalog.release([NAME])
        with pytest.raises(LeaseLostError):
            lease.confirm()

        for step in (
            lambda: lease.enter(PullState.TRANSFER, "Transferring image"),
            lambda: lease.add_bytes(1),
            lease.require_held,
        ):
            with pytest.raises(LeaseLostError):
                step()


def test_a_lease_that_could_not_be_renewed_in_time_counts_as_lost(catalog, claim, monkeypatch):
    monkeypatch.setattr(catalog, "renew", away)

    with (
        Lease(catalog, claim, duration=timedelta(0)) as lease,
        pytest.raises(LeaseLostError, match="ran out"),
    ):
        lease.confirm()


def test_a_confirmation_waits_for_a_catalog_that_is_away_for_a_moment(catalog, claim, monkeypatch):
    renew = Failing(catalog.renew, times=2)
    monkeypatch.setattr(catalog, "renew", renew)

    with Lease(catalog, claim) as lease:
        lease.confirm()

    assert renew._times == 0


def test_progress_that_cannot_be_told_stops_no_pull_and_is_told_later(catalog, claim, monkeypatch):
    told = threading.Event()
    report = Failing(catalog.report, times=1)

    def noticed(*arguments, **options):
        report(*arguments, **options)
        told.set()

    monkeypatch.setattr(catalog, "report", noticed)

    with Lease(catalog, claim, report_every=MOMENT) as lease:
        lease.enter(PullState.CONVERSION, "Converting image")
        assert told.wait(10)

    assert record_of(catalog).state == PullState.CONVERSION


def test_a_step_is_repeated_while_the_catalog_is_away_and_the_lease_lasts(catalog, claim):
    step = Failing(lambda: "done", times=2)

    with Lease(catalog, claim) as lease:
        assert lease.insist(step) == "done"


def test_a_step_is_given_up_once_the_lease_has_run_out(catalog, claim):
    with (
        Lease(catalog, claim, duration=timedelta(seconds=0.3)) as lease,
        pytest.raises(LeaseLostError, match="ran out while the catalog did not answer"),
    ):
        lease.insist(away)


def test_a_pull_that_takes_longer_than_the_site_allows_is_told_so(catalog, claim):
    with Lease(catalog, claim, limit=timedelta(0)) as lease:
        with pytest.raises(PullError, match="took longer than 0:00:00.*PullTimeout"):
            lease.require_held()

        lease.insist(lambda: catalog.fail(claim, "too long"))

    assert record_of(catalog).status_message == "too long"


def test_who_wants_an_image_that_another_job_has_waits_until_it_has_ended(catalog, claim):
    other = NewPull(system=SYSTEM, image_type="docker", pull_tag="lib/foo:2", format="squashfs")
    catalog.add_pull(other, now=2.0)
    first = catalog.claim([SYSTEM], "node2:1:1", HOUR, now=time.time())
    assert catalog.hold(first, IMAGE_ID, time.time())
    waited = []

    def end_the_other():
        waited.append(True)
        catalog.fail(first, "no")

    with Lease(catalog, claim) as lease:
        lease.hold(IMAGE_ID, keep_waiting=end_the_other)

    assert waited == [True]
