# SPDX-License-Identifier: BSD-3-Clause
"""Documents that the original wrote are understood, and it would understand ours."""

from __future__ import annotations

from datetime import timedelta

import pytest
from bson import ObjectId

from shifter_imagegw.errors import CatalogError
from shifter_imagegw.records import Lookup, NewPull, PullState
from tests.catalogs import address_of, open_at, recorded

pytestmark = pytest.mark.mongodb

NOW = 1_800_000_000.5
LEASE = timedelta(seconds=30)
OLD = {"system": "mycluster", "itype": "docker", "pulltag": "old:1"}


def new_pull(tag="app:1", **more):
    values = {"system": "mycluster", "image_type": "docker", "pull_tag": tag, "format": "squashfs"}
    return NewPull(**values | more)


def claim_in(catalog, now=NOW):
    return catalog.claim(["mycluster"], "w", LEASE, now)


def publish_in(catalog, image, tag="app:1", **more):
    catalog.add_pull(new_pull(tag, **more), NOW)
    return catalog.publish(claim_in(catalog), image, NOW)


# The original's


@pytest.mark.parametrize(
    "document",
    [image for image in recorded()["images"] if image["status"] == "READY"],
    ids=lambda document: document["pulltag"][:12],
)
def test_images_that_the_original_pulled_are_found(original, mongo_catalog, document):
    record = mongo_catalog.find_ready("mycluster", document["itype"], document["tag"][0])

    assert record.key == str(document["_id"])
    assert record == mongo_catalog.find_ready_id("mycluster", document["id"], "squashfs")
    wire = record.to_wire()
    for name in ("id", "system", "itype", "tag", "status", "userACL", "groupACL"):
        assert wire[name] == document[name], name
    for name in ("ENV", "ENTRY", "WORKDIR", "status_message", "last_pull"):
        assert wire[name] == document.get(name, "MISSING"), name
    assert record.expiration == document.get("expiration")
    assert record.private == document["private"]


def test_what_the_original_failed_to_pull_is_in_the_queue(original, mongo_catalog):
    queue = mongo_catalog.list_queue("mycluster")

    assert [(record.pull_tag, record.state) for record in queue] == [
        ("lib/missing:1", PullState.FAILURE),
        ("mine:v3", PullState.FAILURE),
    ]
    assert queue[1].source_path == "/home/images/none.squashfs"


def test_lookups_that_the_original_counted_are_told(original, mongo_catalog):
    lookups = mongo_catalog.list_lookups("mycluster", 2)

    assert [(lookup.tag, lookup.image_type) for lookup in lookups] == [
        ("app:1.0", "docker"),
        ("mine:v1", "custom"),
    ]
    assert (lookups[0].user, lookups[0].uid) == ("alice", 1001)


def test_reading_changes_nothing_that_the_original_wrote(original, mongo_catalog):
    mongo_catalog.list_ready("mycluster")

    assert {name: list(original[name].find()) for name in ("images", "metrics")} == recorded()


def test_an_image_of_the_originals_is_pulled_again(original, mongo_catalog, image_with):
    same = publish_in(
        mongo_catalog, image_with(image_id=recorded()["images"][0]["id"]), "lib/slow:1"
    )
    moved = publish_in(mongo_catalog, image_with(), "lib/slow:1")

    assert same.key == "6b0014018a74f4e345c0ac2d"
    assert mongo_catalog.find_ready("mycluster", "docker", "lib/slow:1") == moved
    assert original.images.find_one({"_id": ObjectId(same.key)})["tag"] == []


# Ours, as the original sees them


def test_a_pull_looks_as_the_originals(documents, mongo_catalog):
    mongo_catalog.add_pull(new_pull("lib/missing:1"), NOW)
    (golden,) = (doc for doc in recorded()["images"] if doc["pulltag"] == "lib/missing:1")
    later = {"status_message", "last_heartbeat", "_id"}

    (document,) = documents.images.find()

    assert document.keys() >= golden.keys() - later
    for name in golden.keys() - later - {"status", "last_pull"}:
        assert (document[name], type(document[name])) == (golden[name], type(golden[name])), name
    assert (document["status"], document["last_pull"]) == ("PENDING", NOW)


def test_an_image_looks_as_the_originals(documents, mongo_catalog, image_with):
    publish_in(mongo_catalog, image_with(expiration=NOW), "lib/slow:1", puller=5)
    golden = recorded()["images"][0]

    (document,) = documents.images.find()

    assert document.keys() >= golden.keys()
    for name, value in golden.items():
        assert type(document[name]) is type(value), name
    ours = document.keys() - golden.keys()
    assert ours == {"attempts", "puller", "since", "size", "CMD", "tag_moves"}


def test_an_import_looks_as_the_originals(documents, mongo_catalog):
    new = new_pull("mine:v1", image_type="custom", source_path="/a.tar", source_format="docker")

    mongo_catalog.add_pull(new, NOW)

    (document,) = documents.images.find()
    assert (document["filepath"], document["meta"]) == ("/a.tar", {})


def test_lists_of_who_may_read_a_public_image_hold_for_the_original_too(
    documents, mongo_catalog, image_with
):
    restricted = publish_in(mongo_catalog, image_with(), user_acl=(5,))
    public = publish_in(mongo_catalog, image_with(image_id="b" * 64), "app:2")

    stored = {document["id"]: document["private"] for document in documents.images.find()}
    # It lets everybody read what is `False`, and looks at the lists of what is null.
    assert stored == {restricted.image_id: None, public.image_id: False}
    assert (restricted.private, public.private) == (False, False)


def test_a_lookup_looks_as_the_originals(documents, mongo_catalog):
    (golden, *_) = recorded()["metrics"]
    mongo_catalog.add_lookup(
        Lookup(
            user="alice",
            uid=1001,
            system="mycluster",
            image_type="docker",
            tag="lib/slow:1",
            image_id=golden["id"],
            time=golden["time"],
        )
    )

    (document,) = documents.metrics.find()

    assert {**document, "_id": None} == {**golden, "_id": None}


def test_an_image_that_is_ready_keeps_no_trace_of_the_job(documents, mongo_catalog, image_with):
    mongo_catalog.add_pull(new_pull(sealed_credentials="sealed"), NOW)
    claim = claim_in(mongo_catalog)
    mongo_catalog.hold(claim, "a" * 64, NOW)
    mongo_catalog.publish(claim, image_with(), NOW)

    (document,) = documents.images.find()

    gone = {"token", "owner", "lease_end", "holds", "in_flight", "sealed_credentials"}
    assert not gone & document.keys()


@pytest.mark.parametrize(
    "labels", [{"org.label.a": "b", "$a": "c", "": "d", ".": "e"}, {}], ids=["names", "none"]
)
def test_labels_of_any_name_are_kept(mongo_catalog, image_with, labels):
    assert publish_in(mongo_catalog, image_with(labels=labels)).labels == labels


# Documents of any age


@pytest.mark.parametrize(
    "status, state",
    [("SUCCESS", "READY"), ("ENQUEUED", "PENDING"), ("UNHEARD OF", "FAILURE"), (None, "FAILURE")],
)
def test_statuses_of_older_releases_are_understood(documents, mongo_catalog, status, state):
    documents.images.insert_one(OLD | {"status": status, "tag": ["old:1"], "id": "x"})

    (key,) = mongo_catalog.count_states()

    assert key == ("mycluster", state)
    assert documents.images.find_one()["status"] == state


def test_a_tag_that_is_one_text_is_a_list_of_one(documents, mongo_catalog):
    documents.images.insert_one(OLD | {"status": "READY", "tag": "old:1", "id": "x"})

    record = mongo_catalog.find_ready("mycluster", "docker", "old:1")

    assert record.tags == ("old:1",)
    assert documents.images.find_one()["tag"] == ["old:1"]


def test_a_document_that_says_next_to_nothing_is_an_image(documents, mongo_catalog):
    documents.images.insert_one(
        {"system": "mycluster", "itype": "docker", "status": "READY", "tag": ["old:1"], "id": "x"}
        | {"userACL": None, "groupACL": None, "ENV": None, "unheard": {"of": 1}}
    )

    record = mongo_catalog.find_ready("mycluster", "docker", "old:1")

    assert (record.pull_tag, record.format, record.architecture) == ("old:1", "squashfs", "amd64")
    assert (record.user_acl, record.group_acl, record.private) == (None, None, None)
    assert (record.env, record.expiration, record.last_pull, record.size) == (None,) * 4
    assert mongo_catalog.find_ready_id("mycluster", "x", "squashfs") == record
    assert mongo_catalog.usage("mycluster", 5).images == 0


@pytest.mark.parametrize("status", ["INIT", "PENDING", "PULLING", "ENQUEUED", "TRANSFER"])
def test_a_pull_that_the_original_left_goes_on(documents, mongo_catalog, status, image_with):
    documents.images.insert_one(OLD | {"status": status, "tag": [], "last_pull": 1.5})

    assert mongo_catalog.add_pull(new_pull("old:1"), NOW).last_pull == 1.5
    claim = claim_in(mongo_catalog)
    assert mongo_catalog.publish(claim, image_with(), NOW).tags == ("old:1",)


def test_of_two_pulls_of_one_image_that_the_original_left_one_goes_on(documents, mongo_catalog):
    for acl in ([1], [2], [3]):
        documents.images.insert_one(OLD | {"status": "PENDING", "tag": [], "userACL": acl})

    queue = mongo_catalog.list_queue("mycluster")

    assert [record.state for record in queue] == ["FAILURE", "FAILURE", "PENDING"]
    assert "pull it again" in queue[0].status_message
    assert claim_in(mongo_catalog) is not None
    assert claim_in(mongo_catalog) is None


def test_a_pull_of_nothing_is_a_failure(documents, mongo_catalog):
    documents.images.insert_one({"system": "mycluster", "itype": "docker", "status": "PENDING"})

    assert claim_in(mongo_catalog) is None
    assert [record.state for record in mongo_catalog.list_queue("mycluster")] == ["FAILURE"]


def test_failures_without_a_time_are_purged(documents, mongo_catalog):
    documents.images.insert_one(OLD | {"status": "FAILURE", "tag": []})

    mongo_catalog.purge_failures(NOW)

    assert documents.images.count_documents({}) == 0


def test_two_records_of_one_image_become_that_of_the_last_pull(documents, mongo_catalog):
    twin = OLD | {"status": "READY", "id": "x", "format": "squashfs"}
    documents.images.insert_many(
        [
            twin | {"tag": ["b:1"], "last_pull": 2.0, "userACL": [2]},
            twin | {"tag": ["a:1"], "last_pull": 1.0, "userACL": [1]},
            twin | {"tag": "c:1", "last_pull": 0.5, "status": "SUCCESS"},
        ]
    )

    (record,) = mongo_catalog.list_ready("mycluster")

    assert set(record.tags) == {"a:1", "b:1", "c:1"}
    assert record.user_acl == (2,)
    assert documents.images.count_documents({}) == 1


def test_what_another_gateway_leaves_beside_us_is_healed_at_the_next_start(
    documents, mongo_database, mongo_catalog, image_with
):
    ready = publish_in(mongo_catalog, image_with())
    mongo_catalog.add_pull(new_pull("app:2"), NOW)
    # The original takes our pull in flight to its end, and finds a text for a tag again.
    documents.images.update_one(
        {"pulltag": "app:2"}, {"$set": {"status": "SUCCESS", "id": ready.image_id, "tag": "app:2"}}
    )

    again = open_at(address_of(mongo_database))
    (record,) = again.list_ready("mycluster")
    again.close()

    assert record.tags == ("app:1", "app:2")
    assert again.count_queued(0) == 0
    again.close()


def test_healing_is_done_once(documents, mongo_database, original):
    documents.images.insert_one(OLD | {"status": "PENDING", "tag": "x"})
    seen = []
    for _ in range(2):
        catalog = open_at(address_of(mongo_database))
        catalog.workers()
        catalog.close()
        seen.append(list(documents.images.find()))

    assert seen[0] == seen[1]


def test_an_index_of_the_sites_own_is_kept(documents, mongo_catalog):
    documents.images.create_index([("status", 1), ("last_pull", 1)], name="the site's")

    assert mongo_catalog.workers() == []
    assert "the site's" in documents.images.index_information()


def test_a_unique_index_that_would_not_hold_is_said_in_words(documents, mongo_catalog):
    documents.images.create_index([("system", 1)], name="one_pull_in_flight")

    with pytest.raises(CatalogError, match="index 'one_pull_in_flight' .* drop it"):
        mongo_catalog.workers()
