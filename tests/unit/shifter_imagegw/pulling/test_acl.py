# SPDX-License-Identifier: BSD-3-Clause
"""A change of lists, cut off at every step that it takes."""

from __future__ import annotations

import time
from datetime import timedelta

import pytest

from shifter_common.metadata import ImageMetadata
from shifter_imagegw.acl import Acl, acl_of
from shifter_imagegw.delivery.local import LocalDelivery
from shifter_imagegw.errors import PullError
from shifter_imagegw.pulling import acl
from shifter_imagegw.pulling.acl import common
from shifter_imagegw.pulling.lease import Lease
from shifter_imagegw.records import NewPull

IMAGE_ID = "a" * 64
OWNER, OLD, BOTH, NEW, ADMIN = 1, 2, 3, 4, 5
META = "FORMAT: squashfs\nENTRY: ['/entry']\nENV: A=1\nUSER: 7\nSOMETHING: else\n"
LISTS = [
    Acl(),
    Acl(users=(OWNER,)),
    Acl(users=(OLD, BOTH, OWNER)),
    Acl(users=(BOTH, NEW, OWNER), groups=(5,)),
    Acl(users=(OWNER,), groups=(5, 6)),
    Acl(users=(NEW, OWNER), groups=(6,)),
]
EVERYBODY = {("user", uid) for uid in (OWNER, OLD, BOTH, NEW, 99)} | {("group", 5), ("group", 6)}


class Crash(BaseException):
    """The process dies here."""


class Watched:
    """A thing each of whose steps calls `look` before and after."""

    def __init__(self, thing, steps, look):
        self._thing, self._steps, self._look = thing, steps, look

    def __getattr__(self, name):
        step = getattr(self._thing, name)
        if name not in self._steps:
            return step

        def watched(*arguments, **options):
            self._look()
            result = step(*arguments, **options)
            self._look()
            return result

        return watched


@pytest.fixture
def delivery(tmp_path):
    (tmp_path / "images").mkdir()
    return LocalDelivery("cori", tmp_path / "images")


@pytest.fixture
def start(catalog, tmp_path, image_with):
    """`start(before, wanted)`: an image with lists, and a claimed job to change them."""

    def start(before, wanted, **image):
        lists = {"user_acl": before.users, "group_acl": before.groups}
        named = {"system": "cori", "image_type": "docker", "pull_tag": "a:1", "format": "squashfs"}
        catalog.add_pull(NewPull(**named, **lists, puller=OWNER), time.time())
        catalog.publish(claim(), image_with(**image), time.time())
        write_meta(before)
        lists = {"user_acl": wanted.users, "group_acl": wanted.groups}
        catalog.add_pull(NewPull(**named, **lists, puller=OWNER, acl_image=IMAGE_ID), time.time())
        return claim()

    def claim():
        return catalog.claim(["cori"], "node1:1:1", timedelta(hours=1), time.time())

    def write_meta(lists):
        metadata = ImageMetadata.parse(META)
        metadata.user_acl = list(lists.users) or None
        metadata.group_acl = list(lists.groups) or None
        (tmp_path / "images" / f"{IMAGE_ID}.meta").write_text(metadata.to_text())

    start.again = claim
    return start


def in_record(catalog):
    return acl_of(catalog.find_ready("cori", "docker", "a:1"))


def in_metadata(delivery):
    metadata = ImageMetadata.parse(delivery.read_metadata(IMAGE_ID))
    return Acl(users=tuple(metadata.user_acl or ()), groups=tuple(metadata.group_acl or ()))


def let_in(lists):
    if not lists:
        return EVERYBODY
    return {("user", uid) for uid in lists.users} | {("group", gid) for gid in lists.groups}


def run(claim, catalog, delivery, **options):
    with Lease(catalog, claim) as lease:
        acl.run(lease, catalog=catalog, delivery=delivery, **{"environment": {}} | options)


@pytest.mark.parametrize("before", LISTS, ids=str)
@pytest.mark.parametrize("wanted", LISTS, ids=str)
def test_wherever_it_dies_nobody_gains_who_should_not_and_the_next_worker_ends_it(
    catalog, delivery, start, before, wanted
):
    crashes = 0
    job = start(before, wanted)

    def look():
        nonlocal looks
        runs = let_in(in_metadata(delivery))
        # The .meta lets in nobody whom the record does not, and nobody who is neither
        # who was let in before nor who is to be.
        assert runs <= let_in(in_record(catalog))
        assert runs <= let_in(before) or runs <= let_in(wanted)
        looks += 1
        if looks > crashes:
            raise Crash

    watched = (
        Watched(catalog, {"set_acl", "finish_acl"}, look),
        Watched(delivery, {"deliver_metadata"}, look),
    )
    while job is not None:  # which it is once it has died after its last step
        looks = 0
        try:
            run(job, *watched)
            break
        except Crash:
            crashes += 1
            catalog.release(["node1:1:1"])
            job = start.again()

    assert crashes >= 6
    assert in_record(catalog) == in_metadata(delivery) == wanted
    assert catalog.list_queue("cori") == []


def test_all_else_that_the_metadata_says_stays(catalog, delivery, start):
    run(start(Acl(), Acl(users=(NEW, OWNER), groups=(5,))), catalog, delivery)

    assert delivery.read_metadata(IMAGE_ID) == (
        "FORMAT: squashfs\nENTRY: ['/entry']\nUSERACL: 4,1\nGROUPACL: 5\nENV: A=1\nUSER: 7\n"
    )


def test_no_partial_file_is_left(catalog, delivery, start):
    run(start(Acl(), Acl(users=(OWNER,))), catalog, delivery)

    assert delivery.partials() == []


@pytest.mark.parametrize("text", ["", "nonsense", "FORMAT: zip\n"])
def test_a_metadata_file_that_is_damaged_is_said_to_be(catalog, delivery, start, tmp_path, text):
    job = start(Acl(), Acl(users=(OWNER,)))
    (tmp_path / "images" / f"{IMAGE_ID}.meta").write_text(text)

    with pytest.raises(PullError, match=r"its \.meta file is damaged"):
        run(job, catalog, delivery)
    assert in_record(catalog) == Acl()


def test_a_metadata_file_that_is_gone_is_said_to_be(catalog, delivery, start, tmp_path):
    job = start(Acl(), Acl(users=(OWNER,)))
    (tmp_path / "images" / f"{IMAGE_ID}.meta").unlink()

    with pytest.raises(PullError, match="cannot read"):
        run(job, catalog, delivery)


def test_an_image_that_is_gone_is_said_to_be(catalog, delivery, start):
    job = start(Acl(), Acl(users=(OWNER,)))
    catalog.add_expire(catalog.find_ready("cori", "docker", "a:1"))

    with pytest.raises(PullError, match="is not on cori any more"):
        run(job, catalog, delivery)


def test_where_the_site_wants_no_lists_in_metadata_there_are_none(catalog, delivery, start):
    job = start(Acl(), Acl(users=(OWNER,)))

    run(job, catalog, delivery, environment={"DISABLE_ACL_METADATA": "1"})

    assert (in_record(catalog), in_metadata(delivery)) == (Acl(users=(OWNER,)), Acl())


def test_a_private_image_without_lists_was_its_pullers_alone(catalog, delivery, start):
    job = start(Acl(users=(OWNER,)), Acl(users=(NEW, OWNER)), private=True)
    with catalog._file.writing() as connection:
        connection.execute("UPDATE images SET user_acl = '[]' WHERE state = 'READY'")
    written = []
    deliver = delivery.deliver_metadata
    delivery.deliver_metadata = lambda *args, **more: (
        written.append(args[2]),
        deliver(*args, **more),
    )

    run(job, catalog, delivery)

    assert ["USERACL: 4,1" in text for text in written] == [True]
    assert in_metadata(delivery) == Acl(users=(NEW, OWNER))


def test_lists_that_have_nobody_in_common_let_in_who_changes_them():
    one, other = Acl(users=(1,)), Acl(groups=(1,))

    assert common(one, other, or_else=9) == Acl(users=(9,))


@pytest.mark.parametrize(
    ("wanted", "image", "words"),
    [
        (Acl(users=(OLD, NEW)), {}, "it has another owner by now"),
        (Acl(users=(OWNER, NEW)), {}, "it has another owner by now"),
        (Acl(groups=(5,)), {}, "it has another owner by now"),
        (Acl(), {"private": True}, "it is private in its registry by now"),
    ],
)
def test_lists_that_were_meant_for_another_image_of_that_content_are_not_set(
    catalog, delivery, start, wanted, image, words
):
    before = Acl(users=(OWNER,))
    job = start(before, wanted, **image)

    with pytest.raises(PullError, match=words):
        run(job, catalog, delivery)

    assert (in_record(catalog), in_metadata(delivery)) == (before, before)


@pytest.mark.parametrize(
    ("asked_by", "came_again", "is_opened"),
    [
        (OWNER, None, True),
        (OWNER, NEW, False),
        (OWNER, OWNER, True),
        (ADMIN, None, True),
        (ADMIN, NEW, False),
        # Nobody knows whether the administrator would want it of what is there now.
        (ADMIN, OWNER, False),
    ],
)
def test_an_image_that_was_removed_and_pulled_meanwhile_is_not_opened_to_everybody(
    catalog, delivery, image_with, tmp_path, asked_by, came_again, is_opened
):
    """The job waits; the same content has come again, from a registry that shows it to all."""
    now = time.time()
    named = {"system": "cori", "image_type": "docker", "format": "squashfs"}
    lists = ImageMetadata.parse(META)

    def pull(tag, puller, when):
        catalog.add_pull(NewPull(**named, pull_tag=tag, puller=puller, user_acl=(puller,)), when)
        claim = catalog.claim(["cori"], "node1:1:1", timedelta(hours=1), when)
        lists.user_acl = [puller]
        (tmp_path / "images" / f"{IMAGE_ID}.meta").write_text(lists.to_text())
        return catalog.publish(claim, image_with(), when)

    image = pull("a:1", OWNER, now)
    change = NewPull(**named, pull_tag="a:1", puller=asked_by, acl_image=image.image_id)
    catalog.add_pull(change, now + 1)
    if came_again is not None:
        # The change is older, and would be claimed first.
        waiting = catalog.claim(["cori"], "node1:1:1", timedelta(hours=1), now + 1)
        catalog.add_expire(image)
        removal = catalog.claim(["cori"], "node1:1:2", timedelta(hours=1), now + 2)
        catalog.finish_expire(removal)
        image = pull("b:1", came_again, now + 3)
        catalog.give_back(waiting.worker)
    job = catalog.claim(["cori"], "node1:1:1", timedelta(hours=1), now + 4)
    assert job.record.acl_image == IMAGE_ID

    if is_opened:
        run(job, catalog, delivery)
        wanted = Acl()
    else:
        with pytest.raises(PullError, match="it has been pulled again since"):
            run(job, catalog, delivery)
        wanted = Acl(users=(came_again,))

    record = catalog.find_ready_id("cori", IMAGE_ID, "squashfs")
    assert (acl_of(record), in_metadata(delivery)) == (wanted, wanted)
