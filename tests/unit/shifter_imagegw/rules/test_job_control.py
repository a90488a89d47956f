# SPDX-License-Identifier: BSD-3-Clause
from __future__ import annotations

import pytest

from shifter_common.reference import ImageReference
from shifter_imagegw.acl import Acl
from shifter_imagegw.errors import (
    ImageNotFoundError,
    JobEndedError,
    LeaseLostError,
    NoSuchJobError,
    NotPermittedError,
    TooManyLoginsError,
    TooManyPullsError,
)
from shifter_imagegw.login_tries import LoginTries
from shifter_imagegw.records import NewPull, PullState
from shifter_imagegw.rules.auth import Caller

ALICE = Caller(uid=1001, gid=100, known_name="alice")
BOB = Caller(uid=1002, gid=100, known_name="bob")
ADMIN = Caller(uid=0, gid=0, known_name="root")
APP = ImageReference("docker", "app:1")
TOOL = ImageReference("custom", "tool:1")


def pull(gateway, caller=ALICE, asked=None, tag="app:1"):
    return gateway.service.pull(
        gateway.system, ImageReference("docker", tag), caller, asked or Acl()
    )


def importing(gateway):
    new = NewPull(
        system="mycluster", image_type="custom", pull_tag="tool:1", format="squashfs",
        puller=1001, source_path="/home/alice/x", source_format="auto",
    )  # fmt: skip
    gateway.catalog.add_pull(new, gateway.clock.now)


def cancel(gateway, caller=ALICE, reference=APP):
    return gateway.service.job_control.cancel(gateway.system, reference, caller)


def requeue(gateway, caller=ALICE, reference=APP):
    return gateway.service.job_control.requeue(gateway.system, reference, caller)


# To cancel


@pytest.mark.parametrize("is_running", [False, True])
def test_all_who_wait_for_a_pull_learn_who_cancelled_it(gateway, is_running):
    pull(gateway)
    pull(gateway, BOB)
    claim = gateway.claim() if is_running else None

    answer = cancel(gateway)

    assert (answer.state, answer.status_message) == (PullState.FAILURE, "cancelled by alice")
    for caller in (ALICE, BOB):
        told = pull(gateway, caller)
        assert (told.state, told.status_message) == (PullState.FAILURE, "cancelled by alice")
    if claim is not None:
        with pytest.raises(LeaseLostError):
            gateway.catalog.fail(claim, "x")


def test_an_administrator_cancels_anybodys_job(gateway):
    pull(gateway)

    assert cancel(gateway, ADMIN).status_message == "cancelled by root"


def test_nobody_else_does(gateway):
    pull(gateway)
    pull(gateway, BOB)

    with pytest.raises(NotPermittedError, match="only who asked for it, or an administrator"):
        cancel(gateway, BOB)
    assert gateway.claim() is not None


@pytest.mark.parametrize("act", [cancel, requeue])
def test_a_job_for_others_does_not_exist(gateway, act):
    pull(gateway, asked=Acl(users=(7,)))

    with pytest.raises(NoSuchJobError) as of_others:
        act(gateway, BOB)
    with pytest.raises(NoSuchJobError) as of_nobody:
        act(gateway, BOB, ImageReference("docker", "none:1"))
    assert str(of_others.value) == str(of_nobody.value).replace("none", "app")


@pytest.mark.parametrize("act", [cancel, requeue])
def test_what_is_ready_has_no_job(gateway, act):
    pull(gateway)
    gateway.work()

    with pytest.raises(NoSuchJobError):
        act(gateway)


def test_what_has_failed_cannot_be_cancelled(gateway):
    pull(gateway)
    gateway.work_badly("no such image")

    with pytest.raises(JobEndedError, match="the pull of docker:app:1 has failed already: no such"):
        cancel(gateway)


def test_an_import_is_cancelled(gateway):
    importing(gateway)

    assert cancel(gateway, reference=TOOL).state is PullState.FAILURE


def test_a_removal_is_cancelled_before_it_has_begun(gateway):
    pull(gateway)
    image = gateway.work()
    gateway.service.expire(gateway.system, APP, ALICE)

    assert cancel(gateway, reference=ImageReference("id", image.image_id)).state is PullState.READY
    assert gateway.service.lookup(gateway.system, APP, ALICE).key == image.key


def test_a_removal_that_has_begun_is_not(gateway):
    pull(gateway)
    gateway.work()
    gateway.service.expire(gateway.system, APP, ALICE)
    gateway.claim()

    with pytest.raises(JobEndedError, match="the removal of docker:app:1 cannot be cancelled"):
        cancel(gateway)


def test_a_change_of_lists_is_cancelled(gateway):
    pull(gateway)
    gateway.work()
    gateway.service.acls.change(gateway.system, APP, ALICE, Acl(users=(7,)), public=False)

    assert cancel(gateway).state is PullState.FAILURE
    assert gateway.claim() is None


def test_a_job_that_runs_is_meant_rather_than_ones_own_that_has_failed(gateway):
    pull(gateway)
    gateway.work_badly("alice's")
    pull(gateway, BOB)  # who is told of that
    pull(gateway, BOB)

    with pytest.raises(NotPermittedError):
        cancel(gateway)


def test_of_failures_ones_own_is_meant(gateway):
    pull(gateway)
    gateway.work_badly("alice's")
    pull(gateway, BOB)
    pull(gateway, BOB)
    gateway.work_badly("bob's")

    with pytest.raises(JobEndedError, match="alice's"):
        cancel(gateway)
    with pytest.raises(JobEndedError, match="bob's"):
        cancel(gateway, BOB)


# To have it done anew


def test_a_failed_pull_is_done_anew(gateway):
    pull(gateway)
    gateway.work_badly("the registry is away")

    assert requeue(gateway).state is PullState.PENDING
    assert gateway.nudged == ["mycluster"] * 2
    assert gateway.work().tags == ("app:1",)


def test_a_stuck_pull_is_freed_for_another_worker(gateway):
    pull(gateway)
    stuck = gateway.claim()

    requeue(gateway, ADMIN)

    assert gateway.claim().record.key == stuck.record.key


def test_the_owners_logins_come_with_the_request(gateway):
    pull(gateway)
    gateway.work_badly("no permission")

    requeue(gateway, Caller(uid=1001, gid=100, known_name="a", credentials={"reg": "a:b"}))

    assert gateway.sealer.unseal(gateway.claim().sealed_credentials) == {"reg": "a:b"}


def test_a_repeated_pull_is_no_way_to_guess_passwords(gateway):
    pull(gateway)
    gateway.work_badly("no permission")
    for _ in range(5):
        LoginTries(gateway.catalog, gateway.clock).note_refusal(1001)

    with pytest.raises(TooManyLoginsError):
        requeue(gateway, Caller(uid=1001, gid=100, known_name="a", credentials={"reg": "a:b"}))

    assert gateway.claim() is None


def test_an_administrators_logins_fetch_nothing_for_others(gateway):
    pull(gateway)
    gateway.work_badly("no permission")

    requeue(gateway, Caller(uid=0, gid=0, known_name="root", credentials={"reg": "a:b"}))

    assert gateway.claim().sealed_credentials is None


def test_a_failed_removal_is_done_anew(gateway):
    pull(gateway)
    gateway.work()
    gateway.service.expire(gateway.system, APP, ALICE)
    gateway.work_badly("the disk is away")

    assert requeue(gateway).state is PullState.EXPIRING
    assert gateway.claim().record.state is PullState.EXPIRING


def test_while_another_pull_is_under_way_a_failed_one_stays_failed(gateway):
    pull(gateway)
    gateway.work_badly("no")
    failed = gateway.catalog.list_queue("mycluster")[0]
    pull(gateway, BOB)
    pull(gateway, BOB)

    assert not gateway.catalog.requeue(failed, None, gateway.clock.now)


def test_a_user_repeats_no_more_than_they_may_have_in_the_queue(gateway_with):
    gateway = gateway_with(MaxQueuedPullsPerUser=1)
    pull(gateway)
    gateway.work_badly("no")
    pull(gateway, tag="b:1")

    with pytest.raises(TooManyPullsError):
        requeue(gateway)


def test_a_user_gets_no_more_images_by_repeating_pulls(gateway_with):
    gateway = gateway_with(MaxImagesPerUser=1)
    pull(gateway)
    gateway.work_badly("no")
    pull(gateway, tag="b:1")
    gateway.work()

    with pytest.raises(NotPermittedError, match="you have 1 image on mycluster"):
        requeue(gateway)
    gateway.service.expire(gateway.system, ImageReference("docker", "b:1"), ALICE)
    gateway.catalog.finish_expire(gateway.claim())

    assert requeue(gateway).state is PullState.PENDING


def test_who_may_not_import_any_more_repeats_no_import(gateway):
    importing(gateway)
    gateway.work_badly("no")

    with pytest.raises(NotPermittedError, match="may not import images any more"):
        requeue(gateway, reference=TOOL)
    assert requeue(gateway, ADMIN, TOOL).state is PullState.PENDING


def remove(gateway):
    gateway.service.expire(gateway.system, APP, ADMIN)
    gateway.catalog.finish_expire(gateway.claim())


@pytest.mark.parametrize(("asked", "public"), [(Acl(users=(1002,)), False), (Acl(), True)])
def test_a_change_of_lists_is_not_repeated_on_an_image_that_is_anothers_by_now(
    gateway, asked, public
):
    pull(gateway)
    gateway.work()
    gateway.service.acls.change(gateway.system, APP, ALICE, asked, public=public)
    cancel(gateway)
    remove(gateway)
    pull(gateway, BOB, Acl(users=(7,)))
    gateway.work()

    with pytest.raises((NotPermittedError, ImageNotFoundError)):
        requeue(gateway)

    assert gateway.claim() is None


def test_an_image_that_is_private_by_now_is_opened_to_nobody_by_repeating(gateway):
    pull(gateway)
    gateway.work()
    gateway.service.acls.change(gateway.system, APP, ALICE, Acl(), public=True)
    cancel(gateway)
    pull(gateway, BOB, tag="same:1")
    gateway.work(private=True)

    with pytest.raises(NotPermittedError, match="docker:app:1 is private in its registry"):
        requeue(gateway)


def test_an_import_is_not_repeated_over_an_image_of_somebody_else(gateway_with):
    gateway = gateway_with(ImportUsers=["alice", "bob"])
    importing(gateway)
    gateway.work_badly("no space")
    new = NewPull(
        system="mycluster", image_type="custom", pull_tag="tool:1", format="squashfs",
        puller=1002, source_path="/home/bob/x", source_format="auto",
    )  # fmt: skip
    gateway.catalog.add_pull(new, gateway.clock.now)
    gateway.work()

    with pytest.raises(NotPermittedError, match="an image of somebody else has that name by now"):
        requeue(gateway, reference=TOOL)

    assert requeue(gateway, ADMIN, TOOL).state is PullState.PENDING


def test_an_administrator_does_not_open_what_is_anothers_by_now_by_repeating(gateway):
    pull(gateway)
    gateway.work()
    gateway.service.acls.change(gateway.system, APP, ALICE, Acl(), public=True)
    cancel(gateway)
    assert requeue(gateway, ADMIN).state is PullState.PENDING
    cancel(gateway)
    remove(gateway)
    gateway.clock.advance(1)
    pull(gateway, BOB, Acl(users=(7,)))
    gateway.work()

    with pytest.raises(NotPermittedError, match="it was meant for an image of another user's"):
        requeue(gateway, ADMIN)

    assert gateway.claim() is None
