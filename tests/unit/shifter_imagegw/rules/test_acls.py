# SPDX-License-Identifier: BSD-3-Clause
from __future__ import annotations

import dataclasses

import pytest

from shifter_common.reference import ImageReference
from shifter_imagegw.acl import Acl
from shifter_imagegw.errors import BadRequestError, ImageNotFoundError, NotPermittedError
from shifter_imagegw.records import JobKind, NewPull, PullState
from shifter_imagegw.rules.auth import Caller

ALICE = Caller(uid=1001, gid=100, known_name="alice")
BOB = Caller(uid=1002, gid=100, known_name="bob")
ADMIN = Caller(uid=0, gid=0, known_name="root")
APP = ImageReference("docker", "app:1")
TOOL = ImageReference("custom", "tool:1")


def image(gateway, asked=None, **changes):
    gateway.service.pull(gateway.system, APP, ALICE, asked or Acl())
    return gateway.work(**changes)


def imported(gateway, image_type="custom", tag="tool:1", puller=1001):
    new = NewPull(
        system="mycluster", image_type=image_type, pull_tag=tag, format="squashfs",
        puller=puller, source_path="/home/alice/x", source_format="auto",
    )  # fmt: skip
    gateway.catalog.add_pull(new, gateway.clock.now)
    return gateway.work()


def change(gateway, asked=None, caller=ALICE, *, reference=APP, public=False):
    return gateway.service.acls.change(
        gateway.system, reference, caller, asked or Acl(), public=public
    )


def work(gateway):
    """What a worker does to the catalog."""
    claim = gateway.claim()
    assert claim.record.kind is JobKind.ACL
    gateway.catalog.set_acl(claim)
    gateway.catalog.finish_acl(claim, gateway.clock.now)


def lists(gateway, reference=APP):
    record = gateway.catalog.find_ready("mycluster", reference.image_type, reference.tag)
    return record.user_acl, record.group_acl


def test_lists_are_changed_by_a_worker_and_the_same_request_tells_when(gateway):
    before = image(gateway)

    started = change(gateway, Acl(users=(7,), groups=(8,)))
    assert (started.state, started.image_id) == (PullState.INIT, before.image_id)
    assert gateway.nudged == ["mycluster"] * 2
    assert change(gateway, Acl(users=(7,), groups=(8,))).state is PullState.PENDING
    assert lists(gateway) == ((), ())
    work(gateway)

    done = change(gateway, Acl(users=(7,), groups=(8,)))
    assert (done.state, done.key) == (PullState.READY, before.key)
    assert lists(gateway) == ((7, 1001), (8,))
    assert gateway.claim() is None


def test_the_owner_always_stays_in(gateway):
    image(gateway, Acl(users=(7,)))

    change(gateway, caller=ADMIN)
    work(gateway)

    assert lists(gateway) == ((1001,), ())


def test_an_image_is_opened_to_everybody(gateway):
    image(gateway, Acl(users=(7,)))

    change(gateway, public=True)
    work(gateway)

    assert lists(gateway) == ((), ())
    assert change(gateway, public=True).state is PullState.READY


def test_a_change_that_was_made_long_ago_is_made_again(gateway):
    """Somebody may have harmed the .meta file meanwhile."""
    image(gateway)
    change(gateway, Acl(users=(7,)))
    work(gateway)
    gateway.clock.advance(61)

    assert change(gateway, Acl(users=(7,))).state is PullState.INIT


def test_what_is_private_in_its_registry_is_opened_to_nobody_who_is_not_named(gateway):
    image(gateway, private=True)

    with pytest.raises(NotPermittedError, match="is private in its registry"):
        change(gateway, public=True)
    change(gateway, Acl(users=(7,)))
    work(gateway)

    assert lists(gateway) == ((7, 1001), ())


def test_what_a_pull_with_a_login_has_made_private_is_given_back_to_everybody(gateway):
    """The same content has an open name and a private one."""
    carol = Caller(uid=1003, gid=100, known_name="carol")

    def pull(caller, tag):
        return gateway.service.pull(gateway.system, ImageReference("docker", tag), caller, Acl())

    image(gateway)
    pull(BOB, "secret:1")
    gateway.work(private=True)
    assert set(lists(gateway)[0]) == {1001, 1002}
    with pytest.raises(NotPermittedError, match="is private in its registry"):
        change(gateway, public=True)

    # The registry lets in whoever asks for the open name.
    assert pull(carol, "app:1").state is PullState.INIT
    gateway.work()
    assert set(lists(gateway)[0]) == {1001, 1002, 1003}
    change(gateway, public=True)
    work(gateway)

    assert lists(gateway) == ((), ())


def test_lists_and_everybody_at_once_are_refused(gateway):
    image(gateway)

    with pytest.raises(BadRequestError, match="leave out one"):
        change(gateway, Acl(users=(7,)), public=True)


def test_who_may_use_it_and_nothing_more_is_not_permitted(gateway):
    image(gateway)

    with pytest.raises(NotPermittedError, match="by who pulled or imported it first"):
        change(gateway, Acl(users=(1002,)), BOB)
    assert gateway.claim() is None


def test_an_image_for_others_does_not_exist(gateway):
    image(gateway, Acl(users=(7,)))

    with pytest.raises(ImageNotFoundError) as of_others:
        change(gateway, caller=BOB)
    with pytest.raises(ImageNotFoundError) as of_nobody:
        change(gateway, caller=BOB, reference=ImageReference("docker", "none:1"))
    assert str(of_others.value) == str(of_nobody.value).replace("none", "app")


@pytest.mark.parametrize("by", ["id", "tag"])
def test_any_name_of_the_image_will_do_and_they_mean_one_job(gateway, by):
    before = image(gateway)
    gateway.service.pull(gateway.system, ImageReference("docker", "other:1"), ALICE, Acl())
    gateway.work()
    names = {
        "id": ImageReference("id", before.image_id),
        "tag": ImageReference("docker", "other:1"),
    }

    change(gateway, Acl(users=(7,)))
    assert change(gateway, Acl(users=(7,)), reference=names[by]).state is PullState.PENDING

    assert len(gateway.catalog.list_queue("mycluster")) == 1


def test_an_import_is_changed_like_any_other(gateway):
    imported(gateway)

    change(gateway, Acl(users=(7,)), reference=TOOL)
    work(gateway)

    assert lists(gateway, TOOL) == ((7, 1001), ())


@pytest.mark.parametrize("tag", ["docker", "custom"])
def test_where_anybody_may_import_a_docker_name_stays_its_importers(gateway_with, tag):
    gateway = gateway_with(ImportUsers=["all"])
    imported(gateway, "docker", "app:1")
    if tag == "custom":  # a second name of the same image
        imported(gateway, "custom", "tool:1")
    reference = APP if tag == "docker" else TOOL

    for asked, public in ((Acl(users=(7,)), False), (Acl(groups=(7,)), False), (Acl(), True)):
        with pytest.raises(NotPermittedError, match="is for you alone"):
            change(gateway, asked, reference=reference, public=public)

    change(gateway, reference=reference)
    work(gateway)
    change(gateway, Acl(users=(7,)), ADMIN, reference=reference)


def test_other_lists_replace_those_that_are_on_their_way(gateway):
    image(gateway)
    change(gateway, Acl(users=(7,)))
    stale = gateway.claim()

    assert change(gateway, Acl(users=(8,))).state is PullState.INIT
    with pytest.raises(Exception, match="no longer owns the job"):
        gateway.catalog.set_acl(stale)
    work(gateway)

    assert lists(gateway) == ((8, 1001), ())


def test_a_change_waits_for_a_pull_of_the_same_name(gateway):
    image(gateway)
    gateway.clock.advance(1000)
    gateway.service.pull(gateway.system, APP, ALICE, Acl())

    waiting = change(gateway, Acl(users=(7,)))
    assert (waiting.state, waiting.status_message) == (
        PullState.PENDING, "Waiting for a pull of the same name",
    )  # fmt: skip
    gateway.work()

    assert change(gateway, Acl(users=(7,))).state is PullState.INIT


def test_a_failure_is_told_once_and_then_tried_again(gateway):
    image(gateway)
    change(gateway, Acl(users=(7,)))
    gateway.work_badly("the disk is away")

    failed = change(gateway, Acl(users=(7,)))
    assert (failed.state, failed.status_message) == (PullState.FAILURE, "the disk is away")
    assert change(gateway, Acl(users=(7,))).state is PullState.INIT


def test_a_pull_is_not_answered_with_the_failure_of_a_change(gateway):
    image(gateway)
    change(gateway, Acl(users=(7,)))
    gateway.work_badly("the disk is away")
    gateway.clock.advance(1000)

    assert gateway.service.pull(gateway.system, APP, ALICE, Acl()).state is PullState.INIT


def test_who_pulls_an_image_waits_for_a_change_and_learns_nothing_of_it(gateway):
    image(gateway, Acl(users=(7,)))
    change(gateway, Acl(users=(8,)))
    gateway.catalog.report(gateway.claim(), PullState.TRANSFER, "Changing who may use the image")

    seen = gateway.service.pull(gateway.system, APP, BOB, Acl())

    assert (seen.state, seen.status_message) == (PullState.PENDING, None)
    assert (seen.user_acl, seen.group_acl, seen.puller) == ((), (), None)


def test_a_change_is_in_the_queue_of_its_owner_and_of_administrators(gateway):
    image(gateway)
    change(gateway, Acl(users=(1002,)))

    seen = {
        caller.uid: [job.to_wire() for job in gateway.service.list_queue(gateway.system, caller)]
        for caller in (ALICE, BOB, ADMIN)
    }

    assert [len(jobs) for jobs in seen.values()] == [1, 0, 1]
    assert [job["kind"] for job in seen[1001]] == ["acl"]
    assert [job["is_mine"] for job in seen[1001] + seen[0]] == [True, False]


def test_of_an_image_that_nobody_owns_only_administrators_change_the_lists(gateway):
    record = image(gateway)
    with gateway.catalog._file.writing() as connection:
        connection.execute("UPDATE images SET puller = NULL WHERE key = ?", (record.key,))

    with pytest.raises(NotPermittedError):
        change(gateway, Acl(users=(7,)))
    with pytest.raises(BadRequestError, match="name at least one user or group"):
        change(gateway, caller=ADMIN)
    change(gateway, Acl(users=(7,)), ADMIN)
    work(gateway)

    assert lists(gateway) == ((7,), ())


def test_a_change_counts_as_a_job_of_its_user(gateway_with):
    gateway = gateway_with(MaxQueuedPullsPerUser=1)
    image(gateway)
    gateway.service.pull(gateway.system, ImageReference("docker", "b:1"), ALICE, Acl())

    with pytest.raises(Exception, match="are allowed"):
        change(gateway, Acl(users=(7,)))


def test_a_record_of_a_change_is_none_of_an_image(gateway):
    before = image(gateway)
    job = change(gateway, Acl(users=(7,)))

    assert dataclasses.replace(job, image_id=None).kind is JobKind.ACL
    assert gateway.catalog.list_ready("mycluster") == [before]
    assert gateway.service.lookup(gateway.system, APP, BOB).key == before.key


def test_an_import_is_not_answered_with_the_failure_of_a_change(gateway):
    imported(gateway)
    change(gateway, Acl(users=(7,)), reference=TOOL)
    gateway.work_badly("the disk is away")

    assert gateway.service.pull(gateway.system, TOOL, ALICE, Acl()).state is PullState.READY
