# SPDX-License-Identifier: BSD-3-Clause
"""What every `Catalog` must do with jobs that users end or repeat, with details, and with lists."""

from __future__ import annotations

import threading

import pytest

from shifter_imagegw.acl import has_meant_owner
from shifter_imagegw.details import BuildStep, ImageDetails, Layer, LayerProgress
from shifter_imagegw.errors import LeaseLostError, PullError
from shifter_imagegw.records import JobKind, PullState
from tests.integration.catalog.test_contract import (
    IMAGE_ID,
    LEASE,
    NOW,
    claim_in,
    new_pull,
    publish_in,
)

DETAILS = ImageDetails.bounded(
    created="2026-01-01T00:00:00Z",
    author="\0é\ud800",
    layers=[Layer("sha256:" + "c" * 64, 512, "a/layer")],
    history=[BuildStep("", "RUN $make.it", "", False)] * 400,
)


def queued(catalog):
    (record,) = catalog.list_queue("mycluster")
    return record


def found(catalog, tag="app:1"):
    return catalog.find_ready("mycluster", "docker", tag)


def change_of(image, tag="app:1", *, users=(5,), groups=(), puller=1):
    return new_pull(tag, acl_image=image.image_id, user_acl=users, group_acl=groups, puller=puller)


# How far a pull is


def test_how_far_each_layer_is_is_kept_until_the_pull_ends(catalog, image_with):
    layers = (LayerProgress("sha256:a", 10, 4), LayerProgress("sha256:b", 5, 5))
    catalog.add_pull(new_pull(), NOW)
    claim = claim_in(catalog)

    catalog.report(claim, PullState.PULLING, "Pulling layers", layers=list(layers))
    assert queued(catalog).layers == layers

    assert catalog.publish(claim, image_with(), NOW).layers is None


def test_layers_that_are_not_told_again_are_forgotten(catalog):
    catalog.add_pull(new_pull(), NOW)
    claim = claim_in(catalog)
    catalog.report(claim, PullState.PULLING, "x", layers=[LayerProgress("sha256:a", 10, 4)])

    catalog.report(claim, PullState.CONVERSION, "y")

    assert queued(catalog).layers is None


def test_a_job_says_since_when_it_is_asked_for_and_what_it_does(catalog, image_with):
    pull = catalog.add_pull(new_pull(), NOW)
    assert (pull.since, pull.kind) == (NOW, JobKind.PULL)

    image = publish_in(catalog, image_with(), now=NOW + 60)
    catalog.add_expire(image)

    removal = queued(catalog)
    assert removal.kind is JobKind.REMOVAL
    assert removal.since != NOW
    imported = catalog.add_pull(new_pull("b:1", source_path="/a", source_format="auto"), NOW)
    assert imported.kind is JobKind.IMPORT


# What is kept beside the record


def test_details_are_kept_beside_the_record(catalog, image_with):
    image = publish_in(catalog, image_with(details=DETAILS))

    kept = catalog.find_details("mycluster", IMAGE_ID)

    assert (kept.layers, kept.history, kept.is_cut) == (DETAILS.layers, DETAILS.history, True)
    assert (kept.author, kept.first_pull) == (DETAILS.author, NOW)
    assert found(catalog) == image


def test_details_are_of_one_system(catalog, image_with):
    publish_in(catalog, image_with(details=DETAILS))

    assert catalog.find_details("other", IMAGE_ID) is None
    assert catalog.find_details("mycluster", "b" * 64) is None


def test_the_first_pull_stays_the_first(catalog, image_with):
    publish_in(catalog, image_with(details=DETAILS))
    publish_in(catalog, image_with(details=DETAILS), "app:2", now=NOW + 60)

    assert catalog.find_details("mycluster", IMAGE_ID).first_pull == NOW


def test_when_an_older_gateways_image_came_stays_unknown(catalog, image_with):
    publish_in(catalog, image_with(details=None))
    publish_in(catalog, image_with(details=DETAILS), now=NOW + 60)

    kept = catalog.find_details("mycluster", IMAGE_ID)
    assert (kept.layers, kept.first_pull) == (DETAILS.layers, None)


def test_details_go_with_the_last_format_of_the_image(catalog, image_with):
    images = [
        publish_in(catalog, image_with(details=DETAILS)),
        publish_in(catalog, image_with(details=DETAILS, format="ext4"), "app:2"),
    ]

    for image, is_kept in zip(images, (True, False), strict=True):
        catalog.add_expire(image)
        catalog.finish_expire(claim_in(catalog))
        assert (catalog.find_details("mycluster", IMAGE_ID) is not None) is is_kept


# Jobs that are ended


@pytest.mark.parametrize("is_claimed", [False, True])
def test_a_cancelled_pull_has_failed_with_the_reason(catalog, is_claimed):
    pull = catalog.add_pull(new_pull(sealed_credentials="sealed"), NOW)
    if is_claimed:
        claim_in(catalog)

    assert catalog.cancel(pull, "cancelled by alice", NOW + 5)

    record = queued(catalog)
    assert (record.state, record.status_message) == (PullState.FAILURE, "cancelled by alice")
    assert record.last_pull == NOW + 5
    assert claim_in(catalog, now=NOW + 3600) is None
    assert catalog.workers() == []


@pytest.mark.parametrize(
    "step",
    [
        lambda catalog, claim, _: catalog.renew(claim, LEASE, NOW),
        lambda catalog, claim, _: catalog.report(claim, PullState.PULLING, "x"),
        lambda catalog, claim, _: catalog.hold(claim, IMAGE_ID, NOW),
        lambda catalog, claim, _: catalog.fail(claim, "x"),
        lambda catalog, claim, image: catalog.publish(claim, image, NOW),
    ],
    ids=["renew", "report", "hold", "fail", "publish"],
)
def test_the_worker_of_a_cancelled_job_learns_of_it_with_its_next_step(catalog, image_with, step):
    pull = catalog.add_pull(new_pull(), NOW)
    claim = claim_in(catalog)
    catalog.cancel(pull, "cancelled", NOW)

    with pytest.raises(LeaseLostError):
        step(catalog, claim, image_with())

    assert queued(catalog).status_message == "cancelled"
    assert found(catalog) is None


def test_a_cancelled_job_lets_go_of_its_image(catalog):
    first = catalog.add_pull(new_pull("a:1"), NOW)
    catalog.hold(claim_in(catalog), IMAGE_ID, NOW)
    catalog.add_pull(new_pull("b:1"), NOW)

    catalog.cancel(first, "cancelled", NOW)

    assert catalog.hold(claim_in(catalog, worker="v"), IMAGE_ID, NOW)


def test_what_has_ended_cannot_be_cancelled(catalog, image_with):
    pull = catalog.add_pull(new_pull(), NOW)
    image = catalog.publish(claim_in(catalog), image_with(), NOW)

    assert not catalog.cancel(pull, "cancelled", NOW)
    assert found(catalog) == image


def test_a_removal_that_nobody_has_begun_can_be_cancelled(catalog, image_with):
    image = publish_in(catalog, image_with())
    catalog.add_expire(image)

    assert catalog.cancel(queued(catalog), "cancelled", NOW)

    assert found(catalog).state is PullState.READY
    assert claim_in(catalog) is None


def test_a_removal_that_was_begun_goes_on(catalog, image_with):
    catalog.add_expire(publish_in(catalog, image_with()))
    claim = claim_in(catalog)

    assert not catalog.cancel(queued(catalog), "cancelled", NOW)

    catalog.finish_expire(claim)
    assert found(catalog) is None


def test_a_pull_ends_once_whether_well_or_cancelled(catalog, open_catalog, image_with):
    other = open_catalog()

    def cancel(pull, answers):
        answers.append(other.cancel(pull, "cancelled", NOW))

    for number in range(10):
        pull, answers = catalog.add_pull(new_pull(f"app:{number}"), NOW), []
        claim = claim_in(catalog)
        thread = threading.Thread(target=cancel, args=(pull, answers))
        thread.start()
        try:
            catalog.publish(claim, image_with(image_id=f"{number:064x}"), NOW)
            is_published = True
        except LeaseLostError:
            is_published = False
        thread.join()

        assert answers == [not is_published]
        assert (found(catalog, f"app:{number}") is not None) is is_published


# Jobs that are done anew


def test_a_failed_pull_is_done_anew(catalog, image_with):
    catalog.add_pull(new_pull(user_acl=(5,)), NOW)
    catalog.fail(claim_in(catalog), "no")
    failed = queued(catalog)
    catalog.tell_failure(failed, 1)

    assert catalog.requeue(failed, "sealed", NOW + 9)

    record = queued(catalog)
    assert (record.state, record.status_message) == (PullState.PENDING, None)
    assert (record.since, record.last_pull, record.attempts) == (NOW + 9, NOW + 9, 0)
    claim = claim_in(catalog)
    assert (claim.sealed_credentials, claim.record.attempts) == ("sealed", 1)
    assert catalog.publish(claim, image_with(), NOW).user_acl == (5,)


def test_a_pull_for_which_logins_came_is_no_less_private_without_them(catalog, image_with):
    catalog.add_pull(new_pull(sealed_credentials="sealed"), NOW)
    catalog.fail(claim_in(catalog), "no")

    assert catalog.requeue(queued(catalog), None, NOW)

    assert queued(catalog).private
    claim = claim_in(catalog)
    assert (claim.sealed_credentials, claim.record.private) == (None, True)
    assert catalog.publish(claim, image_with(), NOW).private is False


def test_a_failure_of_a_pull_that_was_done_anew_is_news_again(catalog):
    catalog.add_pull(new_pull(), NOW)
    catalog.fail(claim_in(catalog), "no")
    catalog.tell_failure(queued(catalog), 1)
    catalog.requeue(queued(catalog), None, NOW)
    catalog.fail(claim_in(catalog), "again")

    assert catalog.tell_failure(queued(catalog), 1)


def test_a_stuck_pull_is_given_to_another_worker(catalog):
    pull = catalog.add_pull(new_pull(sealed_credentials="sealed"), NOW)
    stuck = claim_in(catalog)

    assert catalog.requeue(pull, None, NOW)

    with pytest.raises(LeaseLostError):
        catalog.renew(stuck, LEASE, NOW)
    taken = claim_in(catalog, worker="v")
    assert (taken.record.key, taken.sealed_credentials) == (pull.key, "sealed")
    assert taken.record.attempts == 1


def test_a_removal_that_failed_is_done_anew(catalog, image_with):
    catalog.add_expire(publish_in(catalog, image_with()))
    catalog.fail(claim_in(catalog), "disk away")

    assert catalog.requeue(queued(catalog), None, NOW)

    claim = claim_in(catalog)
    assert (claim.record.state, claim.record.image_id) == (PullState.EXPIRING, IMAGE_ID)


def test_a_failed_pull_stays_so_while_another_of_its_name_is_in_flight(catalog):
    catalog.add_pull(new_pull(puller=1), NOW)
    catalog.fail(claim_in(catalog), "no")
    failed = queued(catalog)
    other = catalog.add_pull(new_pull(puller=2), NOW)

    assert not catalog.requeue(failed, None, NOW)

    assert claim_in(catalog).record.key == other.key


def test_what_is_ready_is_not_done_anew(catalog, image_with):
    image = publish_in(catalog, image_with())

    assert not catalog.requeue(image, None, NOW)
    assert found(catalog) == image


# Lists that are changed


@pytest.mark.parametrize(
    ("users", "groups"), [((5, 1), (7,)), ((1,), ()), ((), ())], ids=["both", "one", "everybody"]
)
def test_lists_are_set_exactly_and_the_image_stays_ready_meanwhile(
    catalog, image_with, users, groups
):
    image = publish_in(catalog, image_with(), user_acl=(9,), group_acl=(9,))
    job = catalog.add_pull(change_of(image, users=users, groups=groups), NOW)
    assert (job.kind, found(catalog)) == (JobKind.ACL, image)
    claim = claim_in(catalog)
    assert claim.record.acl_image == IMAGE_ID

    changed = catalog.set_acl(claim)
    assert (changed.user_acl, changed.group_acl) == (users, groups)
    assert (changed.private, changed.acl_set) == (False, None)
    assert queued(catalog).key == job.key
    catalog.finish_acl(claim, NOW + 3)

    record = found(catalog)
    assert (record.user_acl, record.group_acl, record.acl_set) == (users, groups, NOW + 3)
    assert (record.key, record.tags, record.last_pull) == (image.key, image.tags, image.last_pull)
    assert record.is_restricted is bool(users or groups)
    assert catalog.list_queue("mycluster") == []


def test_an_image_that_is_private_in_its_registry_stays_private(catalog, image_with):
    image = publish_in(catalog, image_with(private=True))
    catalog.add_pull(change_of(image, users=(1, 5)), NOW)

    assert catalog.set_acl(claim_in(catalog)).private is True


def test_all_formats_of_an_image_get_the_lists(catalog, image_with):
    image = publish_in(catalog, image_with())
    publish_in(catalog, image_with(format="ext4"), "app:2")
    catalog.add_pull(change_of(image), NOW)

    catalog.set_acl(claim_in(catalog))

    assert [found(catalog, tag).user_acl for tag in ("app:1", "app:2")] == [(5,), (5,)]


def test_lists_of_an_image_that_is_gone_are_not_set(catalog, image_with):
    image = publish_in(catalog, image_with())
    catalog.add_pull(change_of(image), NOW)
    claim = claim_in(catalog)
    catalog.add_expire(image)

    with pytest.raises(PullError, match="is not on mycluster any more"):
        catalog.set_acl(claim)


def test_who_lost_the_job_sets_no_lists(catalog, image_with):
    image = publish_in(catalog, image_with())
    job = catalog.add_pull(change_of(image), NOW)
    claim = claim_in(catalog)
    catalog.cancel(job, "cancelled", NOW)

    with pytest.raises(LeaseLostError):
        catalog.set_acl(claim)
    with pytest.raises(LeaseLostError):
        catalog.finish_acl(claim, NOW)
    assert found(catalog) == image


def test_a_change_of_lists_and_a_pull_of_one_name_do_not_run_at_once(catalog, image_with):
    image = publish_in(catalog, image_with())
    job = catalog.add_pull(change_of(image), NOW)

    assert catalog.add_pull(new_pull(puller=2), NOW).key == job.key


@pytest.mark.parametrize("puller", [1, 2])
def test_a_change_knows_whether_the_image_has_come_again_since(catalog, image_with, puller):
    image = publish_in(catalog, image_with())
    job = catalog.add_pull(change_of(image, users=(), puller=9), NOW + 1)
    assert has_meant_owner(job, found(catalog))

    catalog.add_expire(image)
    changing, removing = claim_in(catalog), claim_in(catalog)
    catalog.finish_expire(removing)
    again = publish_in(catalog, image_with(), "app:2", now=NOW + 2, puller=puller)

    assert changing.record.key == job.key
    assert not has_meant_owner(changing.record, again)
