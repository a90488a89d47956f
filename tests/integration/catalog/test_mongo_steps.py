# SPDX-License-Identifier: BSD-3-Clause
"""What is left when a process dies between two writes, and who tidies it up."""

from __future__ import annotations

from datetime import timedelta

import pymongo.collection
import pytest

from shifter_imagegw.errors import LeaseLostError
from shifter_imagegw.records import NewPull, PullState
from tests.catalogs import address_of, open_at

pytestmark = pytest.mark.mongodb

NOW = 1_800_000_000.5
LEASE = timedelta(seconds=30)
OLD, NEW = "a" * 64, "b" * 64
WRITES = ("insert_one", "update_one", "delete_one", "delete_many", "find_one_and_update")


class Killed(BaseException):
    """The end of the process, as far as the catalog is concerned."""


@pytest.fixture
def dying(monkeypatch):
    """`dying(3, call)`: make a call, and die before its fourth write; whether it came so far."""

    def die_after(writes, call):
        left = [writes]

        def counted(method):
            def write(*arguments, **options):
                if not left[0]:
                    raise Killed
                left[0] -= 1
                return method(*arguments, **options)

            return write

        with monkeypatch.context() as patch:
            for name in WRITES:
                original = getattr(pymongo.collection.Collection, name)
                patch.setattr(pymongo.collection.Collection, name, counted(original))
            try:
                call()
            except Killed:
                return True
        return False

    return die_after


def ask(catalog, tag):
    new = NewPull(system="mycluster", image_type="docker", pull_tag=tag, format="squashfs")
    return catalog.add_pull(new, NOW)


def claim_in(catalog, now=NOW):
    return catalog.claim(["mycluster"], "w", LEASE, now)


def publish_in(catalog, image, tag="app:1"):
    ask(catalog, tag)
    return catalog.publish(claim_in(catalog), image, NOW)


def carriers(catalog, tag):
    return [image.image_id for image in catalog.list_ready("mycluster") if tag in image.tags]


SCENES = {
    "new content": lambda catalog, image_with: None,
    "content that is there": lambda catalog, image_with: publish_in(
        catalog, image_with(image_id=NEW), "other:1"
    ),
    "content that is being removed": lambda catalog, image_with: catalog.add_expire(
        publish_in(catalog, image_with(image_id=NEW), "other:1")
    ),
}


@pytest.mark.parametrize("scene", SCENES)
@pytest.mark.parametrize("writes", range(7))
def test_a_publisher_that_dies_leaves_the_tag_on_one_image_and_work_that_is_done_again(
    mongo_catalog, image_with, dying, scene, writes
):
    publish_in(mongo_catalog, image_with(image_id=OLD))
    ask(mongo_catalog, "app:1")
    claim = claim_in(mongo_catalog)
    SCENES[scene](mongo_catalog, image_with)
    image = image_with(image_id=NEW)

    dying(writes, lambda: mongo_catalog.publish(claim, image, NOW + 1))

    found = mongo_catalog.find_ready("mycluster", "docker", "app:1").image_id
    assert found in (OLD, NEW)
    while job := claim_in(mongo_catalog, NOW + 60):
        if job.record.state is PullState.EXPIRING:
            assert found == OLD or not holds(mongo_catalog, job)
            if found == OLD:
                mongo_catalog.finish_expire(job)
        else:
            mongo_catalog.publish(job, image, NOW + 61)
            found = NEW
    assert mongo_catalog.find_ready("mycluster", "docker", "app:1").image_id == NEW
    publish_in(mongo_catalog, image)  # whoever comes by tidies up
    assert carriers(mongo_catalog, "app:1") == [NEW]
    assert mongo_catalog.list_queue("mycluster") == []
    assert mongo_catalog.workers() == []
    ids = [ready.image_id for ready in mongo_catalog.list_ready("mycluster")]
    assert sorted(ids) == [OLD, NEW]


def holds(catalog, job):
    try:
        return catalog.hold(job, job.record.image_id, NOW + 60)
    except LeaseLostError:
        return False


def test_publishing_takes_no_more_writes_than_are_cut_above(mongo_catalog, image_with, dying):
    publish_in(mongo_catalog, image_with(image_id=OLD))
    publish_in(mongo_catalog, image_with(image_id=NEW), "other:1")
    ask(mongo_catalog, "app:1")
    claim = claim_in(mongo_catalog)

    assert not dying(6, lambda: mongo_catalog.publish(claim, image_with(image_id=NEW), NOW))


def test_a_tag_does_not_come_back_to_an_image_that_its_mover_did_not_live_to_take_it_from(
    mongo_catalog, image_with, dying, documents
):
    publish_in(mongo_catalog, image_with(image_id=OLD))
    ask(mongo_catalog, "app:1")
    claim = claim_in(mongo_catalog)
    # The number, the image, and the removal of others of the same content: all but the tag.
    assert dying(3, lambda: mongo_catalog.publish(claim, image_with(image_id=NEW), NOW))
    assert documents.images.count_documents({"tag": "app:1"}) == 2

    mongo_catalog.add_expire(mongo_catalog.find_ready("mycluster", "docker", "app:1"))

    assert mongo_catalog.find_ready("mycluster", "docker", "app:1") is None
    assert mongo_catalog.find_ready_id("mycluster", OLD, "squashfs").tags == ()


def test_a_removal_is_refused_once_its_image_is_ready_again(mongo_catalog, image_with, dying):
    mongo_catalog.add_expire(publish_in(mongo_catalog, image_with(image_id=NEW), "other:1"))
    removal = claim_in(mongo_catalog)
    ask(mongo_catalog, "app:1")
    pull = claim_in(mongo_catalog)
    assert dying(2, lambda: mongo_catalog.publish(pull, image_with(image_id=NEW), NOW))

    with pytest.raises(LeaseLostError, match="READY again"):
        mongo_catalog.hold(removal, NEW, NOW)

    assert mongo_catalog.find_ready("mycluster", "docker", "app:1").image_id == NEW
    assert mongo_catalog.list_queue("mycluster") == []


@pytest.mark.parametrize("scene", ["new content", "content that is there"])
def test_an_image_that_is_to_go_as_soon_as_it_is_ready_is_still_removed(
    mongo_catalog, mongo_database, image_with, monkeypatch, scene
):
    """Somebody has it removed before its publisher has tidied up."""
    SCENES[scene](mongo_catalog, image_with)
    ask(mongo_catalog, "app:1")
    pull = claim_in(mongo_catalog)
    other = open_at(address_of(mongo_database))
    delete_many = pymongo.collection.Collection.delete_many

    def stand_still(*arguments):
        other.add_expire(other.find_ready("mycluster", "docker", "app:1"))
        return delete_many(*arguments)

    monkeypatch.setattr(pymongo.collection.Collection, "delete_many", stand_still)
    mongo_catalog.publish(pull, image_with(image_id=NEW), NOW)

    other.close()
    removal = claim_in(mongo_catalog)
    assert (removal.record.state, removal.record.image_id) == (PullState.EXPIRING, NEW)


def test_a_pull_that_is_asked_for_leaves_at_most_an_old_failure(mongo_catalog, dying):
    ask(mongo_catalog, "app:1")
    mongo_catalog.fail(claim_in(mongo_catalog), "no")

    assert dying(1, lambda: ask(mongo_catalog, "app:1"))

    assert mongo_catalog.find_pull("mycluster", "docker", "app:1").state is PullState.PENDING
    assert claim_in(mongo_catalog) is not None


def test_a_mover_that_was_thought_dead_and_comes_late_does_not_have_the_tag(
    mongo_catalog, mongo_database, image_with, monkeypatch
):
    """It had looked whether the pull is its own, and then stood still for long."""
    publish_in(mongo_catalog, image_with(image_id=OLD), "other:1")
    ask(mongo_catalog, "app:1")
    late = claim_in(mongo_catalog)
    from shifter_imagegw.catalog import mongo_publishing

    refresh = mongo_publishing._refresh_image
    successor = open_at(address_of(mongo_database))

    def stand_still(*arguments):
        monkeypatch.setattr(mongo_publishing, "_refresh_image", refresh)
        again = claim_in(successor, NOW + 60)
        successor.publish(again, image_with(image_id=NEW), NOW + 60)
        return refresh(*arguments)

    monkeypatch.setattr(mongo_publishing, "_refresh_image", stand_still)

    with pytest.raises(LeaseLostError):
        mongo_catalog.publish(late, image_with(image_id=OLD), NOW)

    successor.close()
    assert mongo_catalog.find_ready("mycluster", "docker", "app:1").image_id == NEW
    assert carriers(mongo_catalog, "app:1") == [NEW]


def test_a_tag_that_comes_back_meanwhile_is_not_taken_away(
    mongo_catalog, mongo_database, image_with, monkeypatch
):
    publish_in(mongo_catalog, image_with(image_id=OLD))
    from shifter_imagegw.catalog import mongo_tags

    without_tag = mongo_tags.without_tag
    other = open_at(address_of(mongo_database))

    def stand_still(*arguments):
        monkeypatch.setattr(mongo_tags, "without_tag", without_tag)
        publish_in(other, image_with(image_id=OLD))
        return without_tag(*arguments)

    monkeypatch.setattr(mongo_tags, "without_tag", stand_still)

    publish_in(mongo_catalog, image_with(image_id=NEW))

    other.close()
    assert carriers(mongo_catalog, "app:1") == [OLD]


def test_two_who_refresh_an_image_at_once_both_leave_their_mark(
    mongo_catalog, mongo_database, image_with, monkeypatch
):
    private = image_with(private=True)
    for puller, tag in enumerate(("a:1", "b:1", "c:1"), start=1):
        new = NewPull(
            system="mycluster", image_type="docker", pull_tag=tag, format="squashfs", puller=puller
        )
        mongo_catalog.add_pull(new, NOW)
    first, second, third = (claim_in(mongo_catalog) for _ in range(3))
    mongo_catalog.publish(first, private, NOW)
    from shifter_imagegw.catalog import mongo_publishing

    refresh = mongo_publishing._refresh_image
    other = open_at(address_of(mongo_database))

    def be_overtaken(*arguments):
        monkeypatch.setattr(mongo_publishing, "_refresh_image", refresh)
        other.publish(third, private, NOW)
        return refresh(*arguments)

    monkeypatch.setattr(mongo_publishing, "_refresh_image", be_overtaken)

    record = mongo_catalog.publish(second, private, NOW)

    other.close()
    assert set(record.tags) == {"a:1", "b:1", "c:1"}
    assert set(record.user_acl) == {1, 2, 3}
