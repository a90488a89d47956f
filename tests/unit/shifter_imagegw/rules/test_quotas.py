# SPDX-License-Identifier: BSD-3-Clause
from __future__ import annotations

import pytest

from shifter_common.reference import ImageReference
from shifter_imagegw.acl import Acl
from shifter_imagegw.errors import NotPermittedError, TooManyPullsError
from shifter_imagegw.records import PullState
from shifter_imagegw.rules.auth import Caller
from shifter_imagegw.rules.imports import ImportSource

ALICE = Caller(uid=1001, gid=100, known_name="alice")
BOB = Caller(uid=1002, gid=100, known_name="bob")
ADMIN = Caller(uid=0, gid=0, known_name="root")
FILE = ImportSource(path="/home/alice/tool.sqsh", format="squashfs")


def pull(gateway, tag, caller=ALICE):
    return gateway.service.pull(gateway.system, ImageReference("docker", tag), caller, Acl())


def import_(gateway, tag, caller=ALICE):
    reference = ImageReference("custom", tag)
    return gateway.service.import_image(gateway.system, reference, caller, FILE, Acl())


def ready(gateway, *tags, caller=ALICE, **changes):
    for tag in tags:
        pull(gateway, tag, caller)
        gateway.work(tag[0], **changes)


# How many images


@pytest.mark.parametrize("ask", [pull, import_])
def test_an_image_too_many_is_refused_in_words(gateway_with, ask):
    gateway = gateway_with(MaxImagesPerUser=2, ImportUsers="all")
    ready(gateway, "a:1", "b:1")

    with pytest.raises(NotPermittedError) as caught:
        ask(gateway, "c:1")

    assert str(caught.value) == (
        "you have 2 images on mycluster, and 2 are allowed: remove what you no longer need with "
        "'shifterimg expire'"
    )
    assert gateway.claim() is None


def test_what_is_on_its_way_counts(gateway_with):
    gateway = gateway_with(MaxImagesPerUser=2)
    ready(gateway, "a:1")
    pull(gateway, "b:1")

    with pytest.raises(NotPermittedError, match="1 image and 1 more on the way"):
        pull(gateway, "c:1")


def test_everybody_has_a_quota_of_their_own(gateway_with):
    gateway = gateway_with(MaxImagesPerUser=1)
    ready(gateway, "a:1")
    pull(gateway, "b:1", BOB)

    with pytest.raises(NotPermittedError):
        pull(gateway, "c:1", ALICE)
    assert pull(gateway, "c:1", ADMIN).state is PullState.INIT


def test_what_others_wait_for_does_not_count(gateway_with):
    gateway = gateway_with(MaxImagesPerUser=1)
    pull(gateway, "a:1", BOB)

    assert pull(gateway, "b:1", ALICE).state is PullState.INIT


def test_administrators_have_no_quota(gateway_with):
    gateway = gateway_with(MaxImagesPerUser=1, MaxBytesPerUser=1, MaxQueuedPullsPerUser=1)

    for tag in ("a:1", "b:1", "c:1"):
        assert pull(gateway, tag, ADMIN).state is PullState.INIT


def test_a_user_at_the_bound_still_gets_what_is_here(gateway_with):
    gateway = gateway_with(MaxImagesPerUser=1)
    ready(gateway, "a:1")
    ready(gateway, "b:1", caller=BOB)

    assert pull(gateway, "a:1").state is PullState.READY
    assert pull(gateway, "b:1").state is PullState.READY
    gateway.clock.advance(1000)
    assert pull(gateway, "a:1").state is PullState.INIT
    assert pull(gateway, "b:1").state is PullState.INIT


def test_new_content_of_an_old_name_cannot_be_fetched_without_end(gateway_with):
    gateway = gateway_with(MaxImagesPerUser=1)
    ready(gateway, "a:1")
    gateway.clock.advance(1000)
    pull(gateway, "a:1")
    gateway.work("b")
    gateway.clock.advance(1000)

    with pytest.raises(NotPermittedError, match="you have 2 images on mycluster, and 1 are"):
        pull(gateway, "a:1")


def test_an_image_that_lost_its_name_is_removed_by_its_id(gateway_with):
    gateway = gateway_with(MaxImagesPerUser=1)
    ready(gateway, "a:1")
    gateway.clock.advance(1000)
    pull(gateway, "a:1")
    gateway.work("b")
    gateway.clock.advance(1000)

    gateway.service.expire(gateway.system, ImageReference("id", "a" * 64), ALICE)
    gateway.catalog.finish_expire(gateway.claim())

    assert pull(gateway, "a:1").state is PullState.INIT


def test_a_poll_is_answered_at_the_bound(gateway_with):
    gateway = gateway_with(MaxImagesPerUser=1, MaxQueuedPullsPerUser=1)
    pull(gateway, "a:1")

    assert pull(gateway, "a:1").state is PullState.PENDING
    gateway.work_badly("no")
    assert pull(gateway, "a:1").state is PullState.FAILURE
    assert pull(gateway, "a:1").state is PullState.INIT


# How many bytes


def test_who_has_as_many_bytes_as_allowed_gets_no_more(gateway_with):
    gateway = gateway_with(MaxBytesPerUser="1.5G")
    ready(gateway, "a:1", size=1 << 30)
    ready(gateway, "b:1", size=1 << 29)

    with pytest.raises(NotPermittedError) as caught:
        pull(gateway, "c:1")

    assert str(caught.value).startswith(
        "you have images of 1.5 GiB on mycluster, and 1.5 GiB is allowed: remove"
    )


def test_who_has_fewer_bytes_gets_one_more_image(gateway_with):
    gateway = gateway_with(MaxBytesPerUser=4097)
    ready(gateway, "a:1", size=4096)

    assert pull(gateway, "b:1").state is PullState.INIT


# How many pulls


@pytest.mark.parametrize("ask", [pull, import_])
def test_a_pull_too_many_in_the_queue_is_refused_in_words(gateway_with, ask):
    gateway = gateway_with(MaxQueuedPullsPerUser=2, ImportUsers="all")
    pull(gateway, "a:1")
    pull(gateway, "b:1")

    with pytest.raises(TooManyPullsError, match="2 pulls in the queue already, and 2 are allowed"):
        ask(gateway, "c:1")

    assert len(gateway.service.list_queue(gateway.system, ADMIN)) == 2
    gateway.work()
    assert ask(gateway, "c:1").state is PullState.INIT


def test_others_have_their_turn_meanwhile(gateway_with):
    gateway = gateway_with(MaxQueuedPullsPerUser=1)
    pull(gateway, "a:1")

    assert pull(gateway, "b:1", BOB).state is PullState.INIT


def test_the_refusal_is_a_429_in_json_that_says_when_to_try_again(gateway_with):
    gateway = gateway_with(MaxQueuedPullsPerUser=1)
    gateway.request("POST", "/api/pull/mycluster/docker/a:1/")

    answer = gateway.request("POST", "/api/pull/mycluster/docker/b:1/")

    assert (answer.status_code, answer.json["status"]) == (429, 429)
    assert answer.json["message"].startswith("Too Many Requests: http://")
    assert int(answer.headers["Retry-After"]) > 0
