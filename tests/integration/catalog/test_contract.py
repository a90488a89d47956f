# SPDX-License-Identifier: BSD-3-Clause
"""What every `Catalog` must do, whatever it is made of."""

from __future__ import annotations

import dataclasses
import threading
from datetime import timedelta

import pytest

from shifter_imagegw.errors import LeaseLostError
from shifter_imagegw.records import Lookup, NewPull, PullState, Usage

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


@pytest.mark.parametrize("ends_as", [PullState.PENDING, PullState.FAILURE])
def test_a_pull_with_logins_may_be_of_a_private_image_until_more_is_known(catalog, ends_as):
    catalog.add_pull(new_pull(sealed_credentials="sealed"), NOW)
    if ends_as is PullState.FAILURE:
        catalog.fail(claim_in(catalog), "no such image")

    (record,) = catalog.list_queue("mycluster")

    assert (record.state, record.private) == (ends_as, True)


def test_a_pull_with_logins_of_what_all_may_read_is_not_private(catalog, image_with):
    record = publish_in(catalog, image_with(), sealed_credentials="sealed")

    assert record.private is False


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


def test_a_failure_is_kept_for_its_puller_until_they_have_been_told(catalog):
    name = ("mycluster", "docker", "app:1")
    failed = []
    for puller in (1, 2):
        catalog.add_pull(new_pull(puller=puller), NOW)
        catalog.fail(claim_in(catalog), f"no, {puller}")
        failed.append(catalog.find_pull(*name))

    assert [catalog.find_failure(*name, uid) for uid in (1, 2, 3)] == [*failed, None]
    assert catalog.tell_failure(failed[0], 1)
    assert catalog.find_failure(*name, 1) is None
    catalog.add_pull(new_pull(puller=3), NOW)
    assert catalog.find_failure(*name, 2) == failed[1]
    assert len(catalog.list_queue("mycluster")) == 2


def test_the_failure_of_a_removal_is_no_failure_of_a_pull(catalog, image_with):
    catalog.add_expire(publish_in(catalog, image_with()))
    catalog.fail(claim_in(catalog), "no")

    assert catalog.find_failure("mycluster", "docker", "app:1", 1) is None
    catalog.add_pull(new_pull(puller=2), NOW)
    assert len(catalog.list_queue("mycluster")) == 1


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


def test_who_could_read_what_had_the_tag_is_not_let_in_to_other_private_content(
    catalog, image_with
):
    publish_in(catalog, image_with(), puller=1)

    record = publish_in(catalog, image_with(image_id="e" * 64, private=True), puller=9)

    assert (record.user_acl, record.tags) == ((9,), ("app:1",))


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


def test_an_image_that_was_asked_for_meanwhile_is_not_removed_as_unused(catalog, image_with):
    asked_for = publish_in(catalog, image_with(expiration=NOW))
    unused = publish_in(catalog, image_with(image_id="b" * 64, expiration=NOW), "app:2")
    assert catalog.list_expired("mycluster", NOW + 1) == [asked_for, unused]
    catalog.arm_expiration(asked_for, NOW + 1000)

    for record in (asked_for, unused):
        catalog.add_expire(record, expired_at=NOW + 1)

    assert catalog.find_ready("mycluster", "docker", "app:1") is not None
    assert catalog.find_ready("mycluster", "docker", "app:2") is None


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


# Holding an image


def two_jobs(catalog):
    for tag in ("app:1", "app:2"):
        catalog.add_pull(new_pull(tag), NOW)
    return claim_in(catalog, worker="one"), claim_in(catalog, worker="other")


def test_an_image_is_held_by_one_job(catalog):
    one, other = two_jobs(catalog)

    assert catalog.hold(one, IMAGE_ID, NOW)
    assert catalog.hold(one, IMAGE_ID, NOW)
    assert not catalog.hold(other, IMAGE_ID, NOW)
    assert catalog.hold(other, "b" * 64, NOW)


def test_images_of_two_systems_are_held_apart(catalog):
    for system in ("mycluster", "other"):
        catalog.add_pull(new_pull(system=system), NOW)

    assert catalog.hold(claim_in(catalog, "mycluster"), IMAGE_ID, NOW)
    assert catalog.hold(claim_in(catalog, "other"), IMAGE_ID, NOW)


@pytest.mark.parametrize(
    "end",
    [
        lambda catalog, claim, image: catalog.publish(claim, image, NOW),
        lambda catalog, claim, image: catalog.fail(claim, "no"),
        lambda catalog, claim, image: catalog.give_back("one"),
        lambda catalog, claim, image: catalog.release(["one"]),
        lambda catalog, claim, image: catalog.hold(claim, "b" * 64, NOW),
    ],
    ids=["publish", "fail", "give_back", "release", "hold another"],
)
def test_what_is_held_is_let_go_with_the_job(catalog, image_with, end):
    one, other = two_jobs(catalog)
    catalog.hold(one, IMAGE_ID, NOW)

    end(catalog, one, image_with())

    assert catalog.hold(other, IMAGE_ID, NOW)


def test_a_job_that_is_claimed_anew_holds_nothing(catalog):
    one, _ = two_jobs(catalog)
    catalog.hold(one, IMAGE_ID, NOW)

    again, other = claim_in(catalog, now=NOW + 31), claim_in(catalog, now=NOW + 31)

    assert {again.record.attempts, other.record.attempts} == {2}
    assert catalog.hold(other, IMAGE_ID, NOW + 31)


def test_whose_lease_has_run_out_loses_image_and_job_to_who_wants_it(catalog, image_with):
    one, other = two_jobs(catalog)
    catalog.hold(one, IMAGE_ID, NOW)
    catalog.renew(other, LEASE, NOW + 20)

    assert not catalog.hold(other, IMAGE_ID, NOW + 29)
    assert catalog.hold(other, IMAGE_ID, NOW + 30)

    with pytest.raises(LeaseLostError):
        catalog.publish(one, image_with(), NOW + 31)
    assert claim_in(catalog, now=NOW + 31).record.key == one.record.key


def test_who_has_lost_the_job_holds_nothing(catalog):
    one, other = two_jobs(catalog)
    catalog.release(["one"])

    with pytest.raises(LeaseLostError):
        catalog.hold(one, IMAGE_ID, NOW)
    assert catalog.hold(other, IMAGE_ID, NOW)


# What processes agree on


def test_a_role_is_one_processs_until_its_time_has_run_out(catalog):
    ten = timedelta(seconds=10)

    assert catalog.elect("sweep", "a", ten, NOW)
    assert not catalog.elect("sweep", "b", ten, NOW + 9)
    assert catalog.elect("other role", "b", ten, NOW + 9)
    assert catalog.elect("sweep", "a", ten, NOW + 9)
    assert not catalog.elect("sweep", "b", ten, NOW + 18)
    assert catalog.elect("sweep", "b", ten, NOW + 19)
    assert not catalog.elect("sweep", "a", ten, NOW + 20)


def test_a_role_is_taken_until_its_time_has_run_out(catalog):
    assert not catalog.is_taken("sweep", NOW)
    catalog.elect("sweep", "a", timedelta(seconds=10), NOW)

    assert catalog.is_taken("sweep", NOW + 9)
    assert not catalog.is_taken("swee", NOW + 9)
    assert not catalog.is_taken("sweep", NOW + 10)
    assert catalog.elect("sweep", "b", timedelta(seconds=10), NOW + 10)  # to ask takes nothing


def test_a_catalog_that_can_be_read_and_written_says_nothing(catalog):
    catalog.check()
    catalog.check()

    assert catalog.workers() == []


def test_a_closed_catalog_opens_anew(catalog):
    catalog.add_pull(new_pull(), NOW)

    catalog.close()
    catalog.close()

    assert len(catalog.list_queue("mycluster")) == 1


# Counts


def test_states_are_counted_by_system(catalog, image_with):
    publish_in(catalog, image_with())
    publish_in(catalog, image_with(image_id="b" * 64), "app:2")
    catalog.add_pull(new_pull(system="other"), NOW)

    assert dict(catalog.count_states()) == {
        ("mycluster", PullState.READY): 2,
        ("other", PullState.PENDING): 1,
    }


def test_jobs_that_could_be_claimed_are_counted_by_system(catalog, image_with):
    image = publish_in(catalog, image_with(), "old:1")
    for tag in ("app:1", "app:2"):
        catalog.add_pull(new_pull(tag), NOW)
    catalog.add_pull(new_pull(system="other"), NOW)
    catalog.add_expire(image)
    claim_in(catalog, now=NOW)

    systems = ["mycluster", "other", "third"]
    assert dict(catalog.count_claimable(systems, NOW + 1)) == {"mycluster": 2, "other": 1}
    assert dict(catalog.count_claimable(["mycluster"], NOW + 30)) == {"mycluster": 3}
    assert dict(catalog.count_claimable([], NOW)) == {}


def test_what_a_user_has_in_the_queue_is_counted_on_all_systems(catalog, image_with):
    publish_in(catalog, image_with(), "ready:1", puller=5)
    failed = catalog.add_pull(new_pull("failed:1", puller=5), NOW)
    catalog.fail(claim_in(catalog), "no")
    for tag, system in (("app:1", "mycluster"), ("app:1", "other")):
        catalog.add_pull(new_pull(tag, system=system, puller=5), NOW)
    catalog.add_pull(new_pull("app:2", puller=6), NOW)

    assert failed.puller == 5
    assert [catalog.count_queued(puller) for puller in (5, 6, 7)] == [2, 1, 0]


def test_the_queue_of_one_user_is_listed(catalog, image_with):
    publish_in(catalog, image_with(), puller=2)
    for tag, puller in (("app:2", 1), ("app:3", 2), ("app:4", 2)):
        catalog.add_pull(new_pull(tag, puller=puller), NOW)
    catalog.fail(claim_in(catalog), "no")

    tags = [record.pull_tag for record in catalog.list_queue("mycluster", 2)]

    assert tags == ["app:3", "app:4"]


def test_usage_counts_the_ready_images_of_who_pulled_them_first(catalog, image_with):
    publish_in(catalog, image_with(size=100), "a:1", puller=5)
    publish_in(catalog, image_with(size=100), "b:1", puller=6)
    publish_in(catalog, image_with(image_id="b" * 64, size=7), "c:1", puller=5)
    expired = publish_in(catalog, image_with(image_id="c" * 64, size=1), "d:1", puller=5)
    catalog.add_expire(expired)
    catalog.add_pull(new_pull("e:1", puller=5), NOW)

    assert catalog.usage("mycluster", 5) == Usage(images=2, bytes=107)
    assert catalog.usage("mycluster", 6) == Usage(images=0, bytes=0)
    assert catalog.usage("other", 5) == Usage(images=0, bytes=0)


# What has had its time


def test_images_whose_time_has_passed_are_listed(catalog, image_with):
    for number, expiration in enumerate((NOW + 10, NOW + 20, None)):
        image = image_with(image_id=str(number) * 64, expiration=expiration)
        publish_in(catalog, image, f"app:{number}")

    expired = [catalog.list_expired("mycluster", NOW + seconds) for seconds in (9, 11, 21)]

    assert [[image.pull_tag for image in images] for images in expired] == [
        [],
        ["app:0"],
        ["app:0", "app:1"],
    ]
    assert catalog.list_expired("other", NOW + 99) == []


def test_what_has_ended_is_purged_by_system_and_nothing_else(catalog, image_with):
    publish_in(catalog, image_with(), "ready:1")
    catalog.add_expire(publish_in(catalog, image_with(image_id="b" * 64), "expired:1"))
    catalog.finish_expire(claim_in(catalog))
    for system in ("mycluster", "other"):
        catalog.add_pull(new_pull("failed:1", system=system), NOW)
        catalog.fail(claim_in(catalog, system), "no")
    catalog.add_pull(new_pull("running:1"), NOW)

    assert catalog.purge_ended("mycluster", before=NOW - 1e9) == 0
    assert catalog.purge_ended("mycluster", before=NOW + 1e9) == 2

    assert catalog.find_pull("mycluster", "docker", "failed:1") is None
    assert catalog.find_pull("mycluster", "docker", "expired:1") is None
    assert catalog.find_pull("other", "docker", "failed:1") is not None
    assert catalog.find_pull("mycluster", "docker", "running:1") is not None
    assert len(catalog.list_ready("mycluster")) == 1


# Imports, and content known by several names


def test_an_import_remembers_file_and_format(catalog, image_with):
    new = new_pull(image_type="custom", source_path="/home/a/app.tar", source_format="docker")

    record = catalog.add_pull(new, NOW)

    assert record.is_import
    assert (record.source_path, record.source_format) == ("/home/a/app.tar", "docker")
    assert claim_in(catalog).record.source_path == "/home/a/app.tar"


def test_a_pull_is_no_import(catalog):
    record = catalog.add_pull(new_pull(), NOW)

    assert (record.is_import, record.source_format) == (False, None)


def test_the_digest_of_what_an_image_was_made_of_is_kept(catalog, image_with):
    record = publish_in(catalog, image_with(digest="sha256:" + "d" * 64))

    assert record.digest == "sha256:" + "d" * 64


def test_content_that_two_types_name_is_one_image_found_by_both(catalog, image_with):
    pulled = publish_in(catalog, image_with(), "app:1")

    imported = publish_in(catalog, image_with(), "app:1", image_type="custom")
    publish_in(catalog, image_with(), "mine:1", image_type="custom")

    assert imported.key == pulled.key
    assert len(catalog.list_ready("mycluster")) == 1
    for image_type, tag, found in (
        ("docker", "app:1", True),
        ("custom", "app:1", True),
        ("custom", "mine:1", True),
        ("docker", "mine:1", False),
    ):
        assert (catalog.find_ready("mycluster", image_type, tag) is not None) == found, tag


def test_a_tag_that_moves_is_left_alone_where_another_type_uses_it(catalog, image_with):
    publish_in(catalog, image_with(), "app:1")
    publish_in(catalog, image_with(), "app:1", image_type="custom")

    moved = publish_in(catalog, image_with(image_id="b" * 64), "app:1")

    assert catalog.find_ready("mycluster", "docker", "app:1") == moved
    assert catalog.find_ready("mycluster", "custom", "app:1").image_id == IMAGE_ID


def test_the_same_content_in_another_format_is_another_image(catalog, image_with):
    publish_in(catalog, image_with(), "app:1")
    publish_in(catalog, image_with(format="ext4"), "app:2")

    assert catalog.find_ready_id("mycluster", IMAGE_ID, "squashfs").tags == ("app:1",)
    assert catalog.find_ready_id("mycluster", IMAGE_ID, "ext4").tags == ("app:2",)


# Lookups


def lookup(number, system="mycluster"):
    return Lookup(
        user="alice",
        uid=1001,
        system=system,
        image_type="docker",
        tag=f"app:{number}",
        image_id=IMAGE_ID,
        time=NOW + number,
    )


def test_the_last_lookups_of_a_system_are_told_oldest_first(catalog):
    for number in range(5):
        catalog.add_lookup(lookup(number))
    catalog.add_lookup(lookup(9, "other"))

    assert catalog.list_lookups("mycluster", 3) == [lookup(2), lookup(3), lookup(4)]
    assert len(catalog.list_lookups("mycluster", 100)) == 5
    assert catalog.list_lookups("mycluster", 0) == []
    assert catalog.list_lookups("third", 5) == []
