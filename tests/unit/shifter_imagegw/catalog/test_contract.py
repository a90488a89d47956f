# SPDX-License-Identifier: BSD-3-Clause
"""What every `Catalog` must do, whatever it is made of."""

from __future__ import annotations

import dataclasses
import threading
from datetime import timedelta

import pytest

from shifter_imagegw.errors import LeaseLostError
from shifter_imagegw.records import NewPull, PullState

LEASE = timedelta(seconds=30)
NOW = 1_800_000_000.5
IMAGE_ID = "a" * 64


def new_pull(tag="app:1", *, system="mycluster", image_type="docker", **more):
    return NewPull(
        system=system,
        image_type=image_type,
        pull_tag=tag,
        format="squashfs",
        **{"puller": 1} | more,
    )


def claim_in(catalog, *systems, worker="w", now=NOW):
    return catalog.claim(systems or ["mycluster"], worker, LEASE, now)


def publish_in(catalog, image, tag="app:1", *, now=NOW, **more):
    """Pull `tag` and end with `image`."""
    catalog.add_pull(new_pull(tag, **more), now)
    return catalog.publish(claim_in(catalog, now=now), image, now)


# Pulls


def test_a_new_pull_is_pending_and_remembers_what_was_asked(catalog):
    new = new_pull(user_acl=(5, 6), group_acl=(7,), puller=5)

    record = catalog.add_pull(new, NOW)

    assert (record.state, record.last_pull, record.puller) == (PullState.PENDING, NOW, 5)
    assert (record.user_acl, record.group_acl) == ((5, 6), (7,))
    assert (record.image_id, record.tags, record.attempts) == (None, (), 0)
    assert catalog.find_pull("mycluster", "docker", "app:1") == record


def test_a_second_request_for_the_same_image_gets_the_pull_in_flight(catalog):
    first = catalog.add_pull(new_pull(puller=1), NOW)

    assert catalog.add_pull(new_pull(puller=2), NOW + 1) == first


@pytest.mark.parametrize(
    "other", [{"tag": "app:2"}, {"system": "other"}, {"image_type": "custom"}], ids=str
)
def test_another_tag_system_or_type_is_another_pull(catalog, other):
    first = catalog.add_pull(new_pull(), NOW)

    assert catalog.add_pull(new_pull(**other), NOW).key != first.key


def test_a_new_pull_replaces_the_one_that_failed(catalog):
    failed = catalog.add_pull(new_pull(), NOW)
    catalog.fail(claim_in(catalog), "no such image")

    record = catalog.add_pull(new_pull(), NOW)

    assert record.key != failed.key
    assert record.status_message is None
    assert [queued.key for queued in catalog.list_queue("mycluster")] == [record.key]


def test_threads_that_ask_at_once_get_one_record(catalog):
    keys = []
    barrier = threading.Barrier(8)

    def ask():
        barrier.wait()
        keys.append(catalog.add_pull(new_pull(), NOW).key)

    threads = [threading.Thread(target=ask) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert len(keys) == 8
    assert len(set(keys)) == 1


# Claims


def test_nothing_to_do_is_no_claim(catalog):
    assert claim_in(catalog) is None


def test_jobs_are_claimed_oldest_first_and_once(catalog):
    for tag in ("b:1", "a:1", "c:1"):
        catalog.add_pull(new_pull(tag), NOW)

    claims = [claim_in(catalog) for _ in range(4)]

    assert [claim and claim.record.pull_tag for claim in claims] == ["b:1", "a:1", "c:1", None]
    assert len({claim.token for claim in claims[:3]}) == 3


def test_a_worker_gets_only_jobs_of_its_systems(catalog):
    catalog.add_pull(new_pull(system="other"), NOW)

    assert claim_in(catalog, "mycluster", "third") is None
    assert claim_in(catalog, "mycluster", "other").record.system == "other"


def test_a_claim_hands_out_the_credentials_and_counts_attempts(catalog):
    catalog.add_pull(new_pull(sealed_credentials="sealed"), NOW)

    claim = claim_in(catalog, worker="w1")

    assert (claim.worker, claim.sealed_credentials, claim.record.attempts) == ("w1", "sealed", 1)
    assert catalog.workers() == ["w1"]


def test_a_job_can_be_claimed_again_only_when_its_lease_has_run_out(catalog):
    catalog.add_pull(new_pull(), NOW)
    first = claim_in(catalog)

    assert claim_in(catalog, now=NOW + 29) is None
    second = claim_in(catalog, now=NOW + 30)
    assert second.token != first.token
    assert second.record.attempts == 2


def test_renewing_keeps_the_job(catalog):
    catalog.add_pull(new_pull(), NOW)
    claim = claim_in(catalog)

    catalog.renew(claim, LEASE, NOW + 20)

    assert claim_in(catalog, now=NOW + 40) is None
    assert claim_in(catalog, now=NOW + 50) is not None


def test_the_leases_of_dead_workers_can_be_ended(catalog):
    for number, worker in enumerate(("dead", "alive", "dead too")):
        catalog.add_pull(new_pull(f"app:{number}"), NOW)
        claim_in(catalog, worker=worker)

    assert catalog.release(["dead", "dead too", "unknown"]) == 2
    assert catalog.workers() == ["alive"]
    assert claim_in(catalog).record.pull_tag == "app:0"


def test_a_worker_that_stops_in_order_gives_back_its_job_and_the_try(catalog):
    catalog.add_pull(new_pull(), NOW)
    for _ in range(5):
        assert claim_in(catalog, worker="restarted").record.attempts == 1
        catalog.give_back("restarted")

    assert claim_in(catalog).record.attempts == 1


@pytest.mark.parametrize(
    "write",
    [
        lambda catalog, claim, image: catalog.renew(claim, LEASE, NOW),
        lambda catalog, claim, image: catalog.report(claim, PullState.PULLING, "x"),
        lambda catalog, claim, image: catalog.publish(claim, image, NOW),
        lambda catalog, claim, image: catalog.fail(claim, "x"),
        lambda catalog, claim, image: catalog.finish_expire(claim),
    ],
    ids=["renew", "report", "publish", "fail", "finish_expire"],
)
def test_who_was_thought_dead_can_write_nothing(catalog, image_with, write):
    catalog.add_pull(new_pull(), NOW)
    lost = claim_in(catalog)
    claim_in(catalog, now=NOW + 60)
    before = catalog.list_queue("mycluster")

    with pytest.raises(LeaseLostError, match="docker:app:1 on mycluster"):
        write(catalog, lost, image_with())

    assert catalog.list_queue("mycluster") == before
    assert catalog.list_ready("mycluster") == []


def test_a_job_that_has_ended_can_be_ended_no_more(catalog, image_with):
    catalog.add_pull(new_pull(), NOW)
    claim = claim_in(catalog)
    catalog.publish(claim, image_with(), NOW)

    with pytest.raises(LeaseLostError):
        catalog.fail(claim, "too late")


# Progress and ends


def test_progress_is_seen(catalog):
    catalog.add_pull(new_pull(), NOW)

    catalog.report(claim_in(catalog), PullState.PULLING, "Layers", bytes_done=3, bytes_total=9)

    record = catalog.find_pull("mycluster", "docker", "app:1")
    assert (record.state, record.status_message) == (PullState.PULLING, "Layers")
    assert (record.bytes_done, record.bytes_total) == (3, 9)
    assert record.last_heartbeat is not None


def test_a_failure_keeps_its_reason_and_forgets_the_credentials(catalog):
    catalog.add_pull(new_pull(sealed_credentials="sealed"), NOW)

    catalog.fail(claim_in(catalog), "registry says no")

    record = catalog.find_pull("mycluster", "docker", "app:1")
    assert (record.state, record.status_message) == (PullState.FAILURE, "registry says no")
    assert catalog.workers() == []
    assert claim_in(catalog) is None


def test_a_failure_is_news_to_each_caller_once(catalog):
    catalog.add_pull(new_pull(), NOW)
    catalog.fail(claim_in(catalog), "no")
    record = catalog.find_pull("mycluster", "docker", "app:1")

    assert [catalog.tell_failure(record, uid) for uid in (1, 1, 2, 1)] == [True, False, True, False]


def test_only_failures_are_news(catalog):
    record = catalog.add_pull(new_pull(), NOW)

    assert not catalog.tell_failure(record, 1)


def test_old_failures_are_forgotten_and_nothing_else(catalog, image_with):
    publish_in(catalog, image_with(), "ready:1")
    catalog.add_pull(new_pull("failed:1"), NOW)
    catalog.fail(claim_in(catalog), "no")
    catalog.add_pull(new_pull("running:1"), NOW)
    ended = catalog.find_pull("mycluster", "docker", "failed:1").last_pull

    catalog.purge_failures(before=ended)
    assert catalog.find_pull("mycluster", "docker", "failed:1") is not None
    catalog.purge_failures(before=ended + 1)

    assert [record.pull_tag for record in catalog.list_queue("mycluster")] == ["running:1"]
    assert [record.pull_tag for record in catalog.list_ready("mycluster")] == ["ready:1"]


def test_a_finished_pull_is_the_image(catalog, image_with):
    image = image_with(labels={"a": "b"}, expiration=NOW + 5, env=("A=ü\n", "B="))
    pull = catalog.add_pull(new_pull(sealed_credentials="sealed"), NOW)

    record = catalog.publish(claim_in(catalog), image, NOW + 2)

    assert record.key == pull.key
    assert (record.state, record.tags, record.last_pull) == (PullState.READY, ("app:1",), NOW + 2)
    assert record.status_message == "Image ready"
    for name in ("image_id", "env", "entry", "command", "workdir", "labels", "size", "expiration"):
        assert getattr(record, name) == getattr(image, name), name
    assert catalog.find_ready("mycluster", "docker", "app:1") == record
    assert catalog.find_ready_id("mycluster", IMAGE_ID, "squashfs") == record
    assert catalog.find_pull("mycluster", "docker", "app:1") is None
    assert catalog.list_ready("mycluster") == [record]
    assert catalog.list_queue("mycluster") == []


def test_an_image_without_anything_to_run_is_kept_so(catalog, image_with):
    image = image_with(env=None, entry=(), command=None, workdir=None, labels=None)

    record = publish_in(catalog, image)

    assert (record.env, record.entry, record.command) == (None, (), None)


def test_images_of_other_systems_and_types_are_not_found(catalog, image_with):
    publish_in(catalog, image_with())

    assert catalog.find_ready("other", "docker", "app:1") is None
    assert catalog.find_ready("mycluster", "custom", "app:1") is None
    assert catalog.find_ready("mycluster", "docker", "app:2") is None
    assert catalog.find_ready_id("other", IMAGE_ID, "squashfs") is None
    assert catalog.find_ready_id("mycluster", IMAGE_ID, "ext4") is None
    assert catalog.list_ready("other") == []


def test_the_old_image_stays_while_its_tag_is_pulled_again(catalog, image_with):
    old = publish_in(catalog, image_with())

    catalog.add_pull(new_pull(), NOW + 400)

    assert catalog.find_ready("mycluster", "docker", "app:1") == old


def test_a_tag_moves_to_new_content_and_the_old_image_stays_without(catalog, image_with):
    old = publish_in(catalog, image_with())

    new = publish_in(catalog, image_with(image_id="b" * 64), now=NOW + 1)

    assert catalog.find_ready("mycluster", "docker", "app:1") == new
    assert catalog.find_ready_id("mycluster", IMAGE_ID, "squashfs").tags == ()
    assert {record.key for record in catalog.list_ready("mycluster")} == {old.key, new.key}


def test_the_same_content_under_another_tag_is_one_image(catalog, image_with):
    old = publish_in(catalog, image_with())

    record = publish_in(catalog, image_with(), "alias:1", now=NOW + 1)

    assert record.key == old.key
    assert (record.tags, record.last_pull) == (("app:1", "alias:1"), NOW + 1)
    assert catalog.list_ready("mycluster") == [record]
    assert catalog.list_queue("mycluster") == []


def test_pulling_the_same_content_again_only_refreshes_it(catalog, image_with):
    old = publish_in(catalog, image_with(expiration=NOW + 100))

    record = publish_in(catalog, image_with(expiration=NOW + 50), now=NOW + 9)

    assert record == dataclasses.replace(
        old, last_pull=NOW + 9, last_heartbeat=NOW + 9, expiration=NOW + 100
    )


def test_lists_are_kept_on_public_images_too(catalog, image_with):
    record = publish_in(catalog, image_with(), user_acl=(1, 5), group_acl=(7,))

    assert (record.user_acl, record.group_acl, record.private) == ((1, 5), (7,), False)


def test_a_private_image_without_lists_is_for_its_puller(catalog, image_with):
    record = publish_in(catalog, image_with(private=True), puller=42)

    assert (record.user_acl, record.puller, record.private) == ((42,), 42, True)


def test_who_pulls_a_restricted_image_too_is_let_in_and_shuts_nobody_out(catalog, image_with):
    publish_in(catalog, image_with(private=True), user_acl=(1, 5), group_acl=(7,), puller=1)

    record = publish_in(catalog, image_with(private=True), puller=9)

    assert (record.user_acl, record.group_acl, record.puller) == ((1, 5, 9), (7,), 1)


# Expiration


def test_an_image_that_expires_is_a_job_and_found_no_more(catalog, image_with):
    image = publish_in(catalog, image_with())

    catalog.add_expire(image)

    assert catalog.find_ready("mycluster", "docker", "app:1") is None
    assert [record.state for record in catalog.list_queue("mycluster")] == [PullState.EXPIRING]
    claim = claim_in(catalog)
    assert (claim.record.image_id, claim.record.state) == (IMAGE_ID, PullState.EXPIRING)
    catalog.finish_expire(claim)
    assert catalog.list_queue("mycluster") == []
    assert catalog.find_pull("mycluster", "docker", "app:1").state is PullState.EXPIRED


def test_an_image_expires_once(catalog, image_with):
    image = publish_in(catalog, image_with())
    catalog.add_expire(image)
    catalog.finish_expire(claim_in(catalog))

    catalog.add_expire(image)

    assert claim_in(catalog) is None


def test_an_expired_image_can_be_pulled_again(catalog, image_with):
    catalog.add_expire(publish_in(catalog, image_with()))
    catalog.finish_expire(claim_in(catalog))

    record = publish_in(catalog, image_with())

    assert catalog.find_ready("mycluster", "docker", "app:1") == record
    assert catalog.find_pull("mycluster", "docker", "app:1") is None


def test_a_removal_ends_when_the_same_image_was_pulled_meanwhile(catalog, image_with):
    catalog.add_expire(publish_in(catalog, image_with()))
    removal = claim_in(catalog)

    record = publish_in(catalog, image_with())

    with pytest.raises(LeaseLostError):
        catalog.renew(removal, LEASE, NOW)
    assert catalog.find_ready("mycluster", "docker", "app:1") == record


def test_expiration_only_moves_forward(catalog, image_with):
    image = publish_in(catalog, image_with(expiration=NOW + 10))

    for expiration in (NOW + 30, NOW + 20):
        catalog.arm_expiration(image, expiration)

    assert catalog.find_ready("mycluster", "docker", "app:1").expiration == NOW + 30


def test_names_of_any_kind_are_kept_apart(catalog):
    tags = ["a'b:1", "x%:1", "ü:1", 'q";--:1', "app@sha256:" + "0" * 64]
    keys = {catalog.add_pull(new_pull(tag), NOW).key for tag in tags}

    assert len(keys) == len(tags)
    assert [record.pull_tag for record in catalog.list_queue("mycluster")] == tags


def test_what_one_process_wrote_another_reads(open_catalog, image_with):
    one, other = open_catalog(), open_catalog()

    record = publish_in(one, image_with())

    assert other.find_ready("mycluster", "docker", "app:1") == record


def test_who_asks_for_a_thousand_images_does_not_keep_others_waiting(catalog):
    for number in range(1000):
        catalog.add_pull(new_pull(f"many:{number}", puller=1001), NOW + number)
    catalog.add_pull(new_pull("one:1", puller=1002), NOW + 2000)

    claimed = [claim_in(catalog, "mycluster", now=NOW + 3000 + n).record for n in range(4)]

    assert [record.puller for record in claimed] == [1001, 1002, 1001, 1001]
    assert [r.pull_tag for r in claimed if r.puller == 1001] == ["many:0", "many:1", "many:2"]
