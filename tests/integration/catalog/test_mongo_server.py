# SPDX-License-Identifier: BSD-3-Clause
"""What only a catalog on a server can suffer: it dies, comes back, stands alone, is another's."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
import traceback
from datetime import timedelta

import pymongo
import pytest

from shifter_imagegw.catalog import mongo_connection, mongo_start
from shifter_imagegw.catalog.mongo import MongoCatalog
from shifter_imagegw.catalog.mongo_publishing import ready_content, ready_tag
from shifter_imagegw.catalog.mongo_turns import claimable
from shifter_imagegw.errors import CatalogError, PullError
from shifter_imagegw.records import NewPull
from tests.catalogs import address_of, open_at
from tests.integration.catalog.test_processes import HAMMER, ROOT
from tests.mongodb import running_mongod

pytestmark = pytest.mark.mongodb

NOW = 1_800_000_000.5
LEASE = timedelta(seconds=30)


def ask(catalog, tag="app:1"):
    new = NewPull(system="mycluster", image_type="docker", pull_tag=tag, format="squashfs")
    return catalog.add_pull(new, NOW)


@pytest.fixture(scope="module")
def own_mongod():
    """A server that these tests kill and start again."""
    with running_mongod() as server:
        yield server


@pytest.fixture
def impatient(monkeypatch):
    """Who asks a server that is away gives up at once."""
    monkeypatch.setitem(mongo_connection._OPTIONS, "serverSelectionTimeoutMS", 100)


# Death and return


@pytest.mark.parametrize("acknowledged", [3, 60])
def test_killing_the_server_loses_nothing_that_it_has_acknowledged(own_mongod, acknowledged):
    address = address_of(own_mongod.database())
    writer = subprocess.Popen(
        [*HAMMER, "write", address],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        cwd=ROOT,
    )
    with writer.stdout as lines:
        keys = [next(lines).strip() for _ in range(acknowledged)]
        own_mongod.kill()
        writer.kill()
        keys += [line.strip() for line in lines if line.endswith("\n")]
    writer.wait()
    own_mongod.start()

    catalog = open_at(address)
    queue = {record.key for record in catalog.list_queue("mycluster")}
    catalog.close()

    assert set(keys) <= queue
    assert len(queue) <= len(keys) + 1


def test_a_server_that_is_away_is_said_in_words_and_nobody_need_start_anew(
    own_mongod, image_with, impatient
):
    catalog = open_at(address_of(own_mongod.database()))
    ask(catalog)
    claim = catalog.claim(["mycluster"], "w", LEASE, NOW)
    own_mongod.stop()
    try:
        with pytest.raises(CatalogError, match=rf"MongoDB at 127.0.0.1:{own_mongod.port} does not"):
            catalog.renew(claim, LEASE, NOW)
    finally:
        own_mongod.start()

    catalog.renew(claim, LEASE, NOW)
    assert catalog.publish(claim, image_with(), NOW).tags == ("app:1",)
    catalog.close()


def test_a_catalog_may_be_opened_before_its_server(own_mongod):
    own_mongod.stop()
    try:
        catalog = open_at(address_of(own_mongod.database()))
    finally:
        own_mongod.start()

    assert ask(catalog).pull_tag == "app:1"
    catalog.close()


def test_a_server_that_is_away_is_not_waited_for_long(own_mongod):
    catalog = open_at(address_of(own_mongod.database()))
    own_mongod.stop()
    began = time.monotonic()
    try:
        with pytest.raises(CatalogError, match="does not answer"):
            catalog.check()
        waited = time.monotonic() - began
    finally:
        own_mongod.start()

    assert waited < 8
    catalog.close()


def test_a_replica_set_that_was_never_begun_is_said_to_be_so():
    def prepare(_):
        raise pymongo.errors.ServerSelectionTimeoutError(
            'No servers match selector "Primary()", Timeout: 5.0s, Topology Description: <…>'
        )

    connection = mongo_connection.MongoConnection("mongodb://127.0.0.1:1", "Shifter", prepare)
    with pytest.raises(CatalogError) as caught, connection.using("images"):
        pass
    connection.close()

    assert str(caught.value).endswith(
        '(No servers match selector "Primary()": a replica set has a primary only after '
        "rs.initiate())"
    )


def test_a_server_that_is_away_is_told_without_numbers_of_the_system(impatient):
    connection = mongo_connection.MongoConnection(
        "mongodb://127.0.0.1:1", "Shifter", lambda _: None
    )
    with pytest.raises(CatalogError) as caught, connection.using("images") as images:
        images.find_one()
    connection.close()

    assert str(caught.value) == (
        "MongoDB at 127.0.0.1:1 does not answer: check that it runs "
        "(127.0.0.1:1: Connection refused)"
    )


def test_what_is_asked_while_the_server_starts_anew_waits_for_it(own_mongod):
    catalog = open_at(address_of(own_mongod.database()))
    ask(catalog)
    own_mongod.kill()
    answers = []
    asking = threading.Thread(target=lambda: answers.append(ask(catalog, "app:2")))

    asking.start()
    own_mongod.start()
    asking.join(20)

    assert [answer.pull_tag for answer in answers] == ["app:2"]
    catalog.close()


# A server in no replica set


def test_a_server_that_stands_alone_serves_too(image_with):
    with running_mongod(replica_set=False) as server:
        catalog = open_at(address_of(server.database()))
        ask(catalog)
        claim = catalog.claim(["mycluster"], "w", LEASE, NOW)
        assert catalog.hold(claim, "a" * 64, NOW)
        record = catalog.publish(claim, image_with(), NOW)
        ask(catalog, "app:2")
        server.kill()
        server.start()

        assert catalog.find_ready("mycluster", "docker", "app:1") == record
        assert [queued.pull_tag for queued in catalog.list_queue("mycluster")] == ["app:2"]
        catalog.close()


# What a site writes into its configuration


@pytest.mark.parametrize(
    "options", ["w=0", "w=1&journal=false", "retryWrites=false", "readPreference=secondary"]
)
def test_writes_stay_whatever_the_uri_says(mongo_database, options):
    catalog = MongoCatalog(f"{mongo_database.uri}?{options}", mongo_database.name)

    ask(catalog)
    with catalog._using("images") as images:
        concern = images.write_concern.document

    catalog.close()
    assert (concern["w"], concern["j"]) == ("majority", True)
    assert catalog.find_pull("mycluster", "docker", "app:1").pull_tag == "app:1"
    catalog.close()


@pytest.mark.parametrize(
    "uri",
    [
        "mongodb://user:hun/ter2@host/",
        "mongodb://user:hun%ter2@host/",
        "mongodb://user:hunter2@host:port/",
        "mongodb://user:hunter2@host:hunter2/",
        "mongodb://user:hunter2@127.0.0.1:1/",
        "mongodb+srv://user:hunter2@nowhere.invalid/",
    ],
)
def test_no_error_tells_the_password(uri, impatient):
    catalog = MongoCatalog(uri, "shifter")

    with pytest.raises(CatalogError) as caught:
        catalog.check()

    catalog.close()
    told = "".join(traceback.format_exception(caught.value))
    assert "hun" not in told
    assert "ter2" not in told


def test_a_login_that_is_wrong_is_said_in_words(mongo_database):
    server = mongo_database.uri.removeprefix("mongodb://")
    catalog = MongoCatalog(f"mongodb://nobody:secret@{server}", mongo_database.name)

    with pytest.raises(
        CatalogError, match=r"does not accept the gateway's login: check MongoDBURI"
    ):
        catalog.check()

    catalog.close()


@pytest.mark.parametrize(
    "changes",
    [
        {"env": ("A=" + "x" * 17_000_000,)},
        {"env": ("A=" + "x" * 16_777_000,)},
        {"labels": {"a\0": "b"}},
        {"workdir": "\ud800"},
    ],
    ids=["too large to send", "too large to keep", "NUL", "no text"],
)
def test_a_description_that_cannot_be_kept_fails_the_pull_in_words(
    mongo_catalog, image_with, changes
):
    ask(mongo_catalog)
    claim = mongo_catalog.claim(["mycluster"], "w", LEASE, NOW)

    with pytest.raises(PullError, match="MongoDB cannot keep what the image's config says"):
        mongo_catalog.publish(claim, image_with(**changes), NOW)

    mongo_catalog.fail(claim, "said")


# Processes


def test_a_catalog_that_was_used_before_fork_serves_parent_and_child(mongo_database):
    program = f"""
import os, sys, warnings
warnings.simplefilter("ignore", DeprecationWarning)  # of fork() beside pymongo's threads
from shifter_imagegw.catalog.mongo import MongoCatalog
from shifter_imagegw.records import NewPull
catalog = MongoCatalog({mongo_database.uri!r}, {mongo_database.name!r})
def ask(tag):
    new = NewPull(system="mycluster", image_type="docker", pull_tag=tag, format="squashfs")
    return catalog.add_pull(new, 1.5)
ask("before:1")
child = os.fork()
ask("child:1" if child == 0 else "parent:1")
if child == 0:
    catalog.close()
    os._exit(0)
assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
ask("after:1")
print(sorted(record.pull_tag for record in catalog.list_queue("mycluster")))
catalog.close()
"""
    ended = subprocess.run(
        [sys.executable, "-W", "error", "-c", program],
        capture_output=True,
        text=True,
        check=False,
        timeout=30,
    )

    assert ended.returncode == 0, ended.stderr
    assert ended.stdout == "['after:1', 'before:1', 'child:1', 'parent:1']\n"
    assert ended.stderr == ""


# Speed


@pytest.fixture(scope="module")
def large(mongod):
    """A database of 10,000 images and 1,000 jobs."""
    database = mongod.database()
    catalog = open_at(address_of(database))
    catalog.workers()
    image = {
        "system": "mycluster",
        "itype": "docker",
        "format": "squashfs",
        "status": "READY",
        "ENV": ["PATH=/usr/bin:/bin"] * 10,
    }
    with pymongo.MongoClient(database.uri) as client:
        images = client[database.name].images
        images.insert_many(
            image
            | {
                "id": f"{number:064x}",
                "tag": [f"app:{number}"],
                "pulltag": f"app:{number}",
                "puller": number % 100,
                "last_pull": NOW,
            }
            for number in range(10_000)
        )
        images.insert_many(
            image | {"status": "PENDING", "pulltag": f"job:{number}", "in_flight": True}
            for number in range(1_000)
        )
        yield catalog, images
        client.drop_database(database.name)
    catalog.close()


QUERIES = {
    "a tag": (ready_tag("mycluster", "app:5"), "tags"),
    "a tag anywhere": ({"system": "mycluster", "tag": "app:5"}, "tags"),
    "other states of a content": (
        {"system": "mycluster", "id": "5", "format": "squashfs", "status": {"$ne": "READY"}},
        "contents",
    ),
    "a content": (ready_content("mycluster", f"{5:064x}", "squashfs"), "one_image_of_a_content"),
    "jobs": (claimable(["mycluster"], NOW), "states"),
    "the queue": ({"system": "mycluster", "status": {"$in": ["PENDING", "FAILURE"]}}, "states"),
    "old failures": ({"status": "FAILURE", "last_pull": {"$lt": NOW}}, "states"),
    "expired": (
        {"system": "mycluster", "status": "READY", "expiration": {"$lt": NOW}},
        "states",
    ),
    "a pull": ({"system": "mycluster", "itype": "docker", "pulltag": "job:5"}, "pulls"),
    "owners": ({"owner": {"$gt": ""}}, "owners"),
    "usage": ({"system": "mycluster", "status": "READY", "puller": 5}, "turns"),
    "turns": ({"puller": 5}, "turns"),
}


@pytest.mark.parametrize("query", QUERIES)
def test_what_is_asked_often_is_answered_from_an_index(large, query):
    _, images = large
    condition, name = QUERIES[query]

    plan = images.find(condition).explain()["queryPlanner"]["winningPlan"]

    steps = list(steps_of(plan.get("queryPlan", plan)))
    assert "COLLSCAN" not in {step["stage"] for step in steps}
    assert {step["indexName"] for step in steps if "indexName" in step} == {name}


def steps_of(plan):
    yield plan
    for step in [plan["inputStage"]] if "inputStage" in plan else plan.get("inputStages", []):
        yield from steps_of(step)


def test_every_index_is_there(large):
    _, images = large
    there = images.index_information()

    assert {index.document["name"] for index in mongo_start.IMAGE_INDEXES} < there.keys()


def test_a_lookup_among_ten_thousand_images_takes_less_than_a_millisecond(large):
    catalog, _ = large
    catalog.find_ready("mycluster", "docker", "app:1")
    times = []
    for number in range(200):
        began = time.perf_counter()
        assert catalog.find_ready("mycluster", "docker", f"app:{number}") is not None
        times.append(time.perf_counter() - began)

    # The best tenth: others may be busy on this machine.
    assert sorted(times)[len(times) // 10] < 0.001
