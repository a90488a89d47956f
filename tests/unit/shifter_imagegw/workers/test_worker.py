# SPDX-License-Identifier: BSD-3-Clause
from __future__ import annotations

import dataclasses
import os
import signal
import time
from collections.abc import Callable
from datetime import timedelta

import pytest

from shifter_imagegw.delivery.local import LocalDelivery
from shifter_imagegw.errors import CatalogError, DeliveryError, PullError
from shifter_imagegw.pulling import expire
from shifter_imagegw.pulling.lease import Lease
from shifter_imagegw.records import NewPull, PublishedImage, PullState
from shifter_imagegw.workers import worker as worker_module
from shifter_imagegw.workers.worker import MOST_ATTEMPTS, Stopped, Worker, stopped_by

SYSTEM = "cori"
TAG = "lib/foo:1"
IMAGE_ID = "ab" * 32
NAME = "node1:4711:99"
HOUR = timedelta(hours=1)
MOMENT = timedelta(seconds=0.001)


@pytest.fixture
def claim(catalog, pull):
    return catalog.claim([SYSTEM], NAME, HOUR, now=1.0)


def image(image_id=IMAGE_ID):
    return PublishedImage(
        image_id=image_id,
        format="squashfs",
        architecture="amd64",
        os="linux",
        private=False,
        env=None,
        entry=None,
        command=None,
        workdir=None,
        labels=None,
        size=3,
        expiration=None,
    )


def publishing(catalog):
    return lambda lease: catalog.publish(lease.claim, image(), now=2.0)


def raising(error):
    def job(_lease):
        raise error

    return job


def unexpected(_lease):
    pytest.fail("this job must not run")


@dataclasses.dataclass
class Duties:
    pull: Callable[[Lease], None] = unexpected
    expire: Callable[[Lease], None] = unexpected
    change_acl: Callable[[Lease], None] = unexpected


def worker(catalog, pull=unexpected, expire=unexpected, change_acl=unexpected, **options):
    return Worker(NAME, catalog, [SYSTEM], Duties(pull, expire, change_acl), **options)


def record_of(catalog):
    return catalog.find_pull(SYSTEM, "docker", TAG)


def test_a_worker_publishes_the_pull_that_it_claims(catalog, pull):
    assert worker(catalog, pull=publishing(catalog)).work_once()

    assert catalog.find_ready(SYSTEM, "docker", TAG).image_id == IMAGE_ID


def test_a_worker_with_nothing_to_do_says_so(catalog):
    assert not worker(catalog).work_once()


def test_the_text_of_an_error_becomes_the_reason_of_the_failure(catalog, pull):
    worker(catalog, pull=raising(PullError("no such image: 'foo'"))).work_once()

    record = record_of(catalog)
    assert (record.state, record.status_message) == (PullState.FAILURE, "no such image: 'foo'")


def test_a_defect_fails_the_pull_without_showing_its_insides(catalog, pull, caplog):
    worker(catalog, pull=raising(KeyError("secret-of-the-code"))).work_once()

    record = record_of(catalog)
    assert record.state == PullState.FAILURE
    assert "secret-of-the-code" not in record.status_message
    assert "Traceback" in caplog.text


def test_an_operating_system_error_is_told_with_its_file(catalog, pull):
    error = OSError(28, "No space left on device", "/cache/x")

    worker(catalog, pull=raising(error)).work_once()

    assert record_of(catalog).status_message == (
        "the gateway cannot use '/cache/x': No space left on device"
    )


def test_a_lost_lease_leaves_the_job_to_its_new_owner(catalog, pull):
    def lose(lease):
        catalog.release([NAME])
        catalog.claim([SYSTEM], "node2:1:1", HOUR, now=2.0)
        lease.confirm()

    worker(catalog, pull=lose).work_once()

    assert record_of(catalog).state == PullState.PENDING
    assert catalog.workers() == ["node2:1:1"]


def test_a_job_whose_workers_keep_dying_is_given_up(catalog, pull):
    for _ in range(MOST_ATTEMPTS):
        catalog.claim([SYSTEM], "node2:1:1", HOUR, now=1.0)
        catalog.release(["node2:1:1"])

    worker(catalog).work_once()

    record = record_of(catalog)
    assert record.state == PullState.FAILURE
    assert "the worker died 3 times" in record.status_message


@pytest.fixture
def change(catalog, pull):
    """A change of the lists of an image that waits for a worker."""
    claim = catalog.claim([SYSTEM], NAME, HOUR, now=1.0)
    catalog.publish(claim, image(), now=2.0)
    new = NewPull(
        system=SYSTEM, image_type="docker", pull_tag=TAG, format="squashfs", puller=7,
        user_acl=(5,), acl_image=IMAGE_ID,
    )  # fmt: skip
    return catalog.add_pull(new, now=3.0)


def test_a_change_of_lists_is_no_pull(catalog, change):
    done = []

    worker(catalog, change_acl=lambda lease: done.append(lease.claim.record.key)).work_once()

    assert done == [change.key]


def test_a_change_of_lists_that_nobody_survives_is_given_up_in_words_of_its_own(catalog, change):
    for _ in range(MOST_ATTEMPTS):
        catalog.claim([SYSTEM], "node2:1:1", HOUR, now=4.0)
        catalog.release(["node2:1:1"])

    worker(catalog).work_once()

    record = record_of(catalog)
    assert record.state == PullState.FAILURE
    assert record.status_message.startswith(
        "cannot change who may use 'lib/foo:1': the worker died"
    )


def test_a_job_that_was_cancelled_is_let_go_of(catalog, pull, caplog):
    def cancelled(lease):
        catalog.cancel(lease.claim.record, "cancelled by alice", time.time())
        lease.confirm()

    worker(catalog, pull=cancelled).work_once()

    record = record_of(catalog)
    assert (record.state, record.status_message) == (PullState.FAILURE, "cancelled by alice")
    assert "pull abandoned" in caplog.text


def test_a_worker_that_is_stopped_gives_its_job_back(catalog, pull):
    with pytest.raises(Stopped):
        worker(catalog, pull=raising(Stopped())).run()

    assert catalog.workers() == []
    assert record_of(catalog).state == PullState.PENDING
    assert catalog.claim([SYSTEM], "node2:1:1", HOUR, now=1.0) is not None


def test_a_catalog_that_does_not_answer_is_asked_again_later(catalog, monkeypatch, caplog):
    def broken(*_arguments):
        raise CatalogError("the catalog is locked")

    monkeypatch.setattr(catalog, "claim", broken)

    assert not worker(catalog).work_once()
    assert "the catalog is locked" in caplog.text


def test_a_signal_ends_the_work_quietly():
    reached = []

    with stopped_by(signal.SIGUSR1):
        os.kill(os.getpid(), signal.SIGUSR1)
        reached.append("after the signal")

    assert reached == []


def test_an_expire_job_removes_the_image_and_ends_expired(catalog, tmp_path, claim):
    delivery = LocalDelivery(SYSTEM, tmp_path)
    catalog.publish(claim, image(), now=2.0)
    for suffix in ("squashfs", "meta"):
        (tmp_path / f"{IMAGE_ID}.{suffix}").write_bytes(b"x")
    catalog.add_expire(catalog.find_ready(SYSTEM, "docker", TAG))

    def remove(lease):
        expire.run(lease, catalog=catalog, delivery=delivery)

    worker(catalog, expire=remove).work_once()

    assert record_of(catalog).state == PullState.EXPIRED
    assert not delivery.is_delivered(IMAGE_ID, "squashfs")


def test_an_image_that_a_pull_brings_back_is_not_removed(catalog, tmp_path, claim):
    delivery = LocalDelivery(SYSTEM, tmp_path)
    catalog.publish(claim, image(), now=2.0)
    for suffix in ("squashfs", "meta"):
        (tmp_path / f"{IMAGE_ID}.{suffix}").write_bytes(b"x")
    catalog.add_expire(catalog.find_ready(SYSTEM, "docker", TAG))
    again = NewPull(system=SYSTEM, image_type="docker", pull_tag="lib/foo:2", format="squashfs")

    def remove(lease):
        catalog.add_pull(again, now=3.0)
        catalog.publish(catalog.claim([SYSTEM], "node2:1:1", HOUR, now=3.0), image(), now=3.0)
        expire.run(lease, catalog=catalog, delivery=delivery)

    worker(catalog, expire=remove).work_once()

    assert catalog.find_ready(SYSTEM, "docker", "lib/foo:2").image_id == IMAGE_ID
    assert delivery.is_delivered(IMAGE_ID, "squashfs")


def test_all_names_of_a_removed_image_are_forgotten_whatever_their_type(catalog, tmp_path, claim):
    delivery = LocalDelivery(SYSTEM, tmp_path)
    catalog.publish(claim, image(), now=2.0)
    own = NewPull(system=SYSTEM, image_type="custom", pull_tag="mine:1", format="squashfs")
    catalog.add_pull(own, now=2.0)
    catalog.publish(catalog.claim([SYSTEM], "node2:1:1", HOUR, now=2.0), image(), now=2.0)
    for name in (("docker", TAG), ("custom", "mine:1")):
        delivery.index(*name, IMAGE_ID)
    catalog.add_expire(catalog.find_ready(SYSTEM, "docker", TAG))

    def remove(lease):
        expire.run(lease, catalog=catalog, delivery=delivery)

    worker(catalog, expire=remove).work_once()

    assert delivery.indexed() == []


def test_who_removes_an_image_and_comes_late_takes_no_name_away(catalog, tmp_path, claim):
    """It stood still for longer than its lease, while the image was removed and pulled again."""
    catalog.publish(claim, image(), now=2.0)
    catalog.add_expire(catalog.find_ready(SYSTEM, "docker", TAG))
    again = NewPull(system=SYSTEM, image_type="docker", pull_tag=TAG, format="squashfs")

    class Late(LocalDelivery):
        def remove(self, *arguments):
            super().remove(*arguments)
            catalog.add_pull(again, now=3.0)
            catalog.publish(catalog.claim([SYSTEM], "node2:1:1", HOUR, now=3.0), image(), now=3.0)
            self.index("docker", TAG, IMAGE_ID)

    delivery = Late(SYSTEM, tmp_path)

    def remove(lease):
        expire.run(lease, catalog=catalog, delivery=delivery)

    worker(catalog, expire=remove).work_once()

    assert [entry.image_id for entry in delivery.indexed()] == [IMAGE_ID]


def test_no_name_means_an_image_that_could_not_be_removed(catalog, tmp_path, claim):
    class ReadOnly(LocalDelivery):
        def remove(self, *_arguments):
            raise DeliveryError("cannot remove it")

    delivery = ReadOnly(SYSTEM, tmp_path)
    catalog.publish(claim, image(), now=2.0)
    delivery.index("docker", TAG, IMAGE_ID)
    catalog.add_expire(catalog.find_ready(SYSTEM, "docker", TAG))

    def remove(lease):
        expire.run(lease, catalog=catalog, delivery=delivery)

    worker(catalog, expire=remove).work_once()

    assert record_of(catalog).status_message == "cannot remove it"
    assert delivery.indexed() == []


def test_an_expire_job_that_fails_says_why(catalog, claim):
    catalog.publish(claim, image(), now=2.0)
    catalog.add_expire(catalog.find_ready(SYSTEM, "docker", TAG))

    worker(catalog, expire=raising(DeliveryError("cannot remove it"))).work_once()

    assert record_of(catalog).status_message == "cannot remove it"


def test_a_reason_of_failure_is_stored_once_the_catalog_is_back(catalog, pull, monkeypatch):
    fail = catalog.fail
    answers = [CatalogError("away"), None]

    def store(*arguments):
        answer = answers.pop(0)
        if answer is not None:
            raise answer
        fail(*arguments)

    monkeypatch.setattr(catalog, "fail", store)

    worker(catalog, pull=raising(PullError("no such image: 'foo'"))).work_once()

    assert record_of(catalog).status_message == "no such image: 'foo'"


def test_a_job_that_met_a_catalog_that_is_away_is_left_to_others_at_once(catalog, pull):
    worker(catalog, pull=raising(CatalogError("away"))).work_once()

    assert catalog.workers() == []
    again = catalog.claim([SYSTEM], "node2:1:1", HOUR, now=time.time())
    assert again.record.attempts == 2


def test_a_job_that_hangs_is_broken_off_when_its_time_is_up(catalog, pull, monkeypatch):
    monkeypatch.setattr(worker_module, "_LOOK_EVERY", 0.05)
    monkeypatch.setattr(worker_module, "_STUCK_AFTER", 0.1)

    def hang(_lease):
        reading, writing = os.pipe()
        try:
            os.read(reading, 1)
        finally:
            os.close(reading)
            os.close(writing)

    worker(catalog, pull=hang, limit=timedelta(seconds=0.1)).work_once()

    assert "PullTimeout" in record_of(catalog).status_message
    assert signal.getitimer(signal.ITIMER_REAL) == (0.0, 0.0)


def test_a_job_that_stops_by_itself_in_time_is_left_to_clean_up(catalog, pull, monkeypatch):
    monkeypatch.setattr(worker_module, "_LOOK_EVERY", 0.01)
    cleaned = []

    def stop_slowly(lease):
        try:
            while True:
                lease.require_held()
        finally:
            time.sleep(0.1)
            cleaned.append(True)

    worker(catalog, pull=stop_slowly, limit=timedelta(seconds=0.05)).work_once()

    assert cleaned == [True]
    assert record_of(catalog).state == PullState.FAILURE


def test_a_catalog_that_stays_away_is_complained_of_once(catalog, monkeypatch, caplog):
    def away(*_arguments):
        raise CatalogError("the catalog is away")

    monkeypatch.setattr(catalog, "claim", away)
    idle = worker(catalog)

    for _ in range(3):
        idle.work_once()

    assert caplog.text.count("the catalog is away") == 1


def test_a_job_that_failed_is_counted_in_the_usage_history(catalog, pull):
    worker(catalog, pull=raising(PullError("no such image"))).work_once()

    (count,) = catalog.usage_counts(SYSTEM, "2000-01-01")
    assert (count.image, count.uid, count.pulls, count.failures) == (f"docker:{TAG}", 7, 0, 1)
