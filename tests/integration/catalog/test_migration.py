# SPDX-License-Identifier: BSD-3-Clause
"""Catalogs carried from one home to another, and out of a database of the original's."""

from __future__ import annotations

import json
from collections import Counter
from datetime import timedelta
from pathlib import Path

import pytest
from click.testing import CliRunner

from shifter_imagegw.catalog.mongo_copy import MongoHome
from shifter_imagegw.catalog.sqlite_copy import SqliteHome
from shifter_imagegw.command import main
from shifter_imagegw.commands import migrate, own_account
from shifter_imagegw.details import ImageDetails
from shifter_imagegw.errors import CatalogError, ConfigError
from shifter_imagegw.records import Lookup, NewPull, PullState, UsageCount, UsageDay
from tests.catalogs import address_of, open_at, recorded, settings_of

pytestmark = pytest.mark.mongodb

NOW = 1_800_000_000.5
LEASE = timedelta(seconds=30)
LOOKUP = Lookup(
    user="alice", uid=1, system="mycluster", image_type="docker", tag="app:1",
    image_id="a" * 64, time=NOW,
)  # fmt: skip
COUNT = UsageCount(
    system="mycluster", day="2027-01-15", image="docker:app:1", uid=1, restricted=True, lookups=3
)


@pytest.fixture
def homes(tmp_path, mongo_database):
    """Both homes of one kind each, by name: their addresses, and themselves."""
    addresses = {
        "sqlite": f"sqlite:{tmp_path / 'one.sqlite'}",
        "mongodb": address_of(mongo_database),
    }
    opened = []

    def home(name):
        address = addresses[name]
        if name == "sqlite":
            opened.append(SqliteHome(Path(address.removeprefix("sqlite:"))))
        else:
            settings = settings_of(address)
            opened.append(MongoHome(settings["MongoDBURI"], settings["MongoDB"]))
        return opened[-1]

    home.addresses = addresses
    yield home
    for each in opened:
        each.close()


@pytest.fixture(params=[("sqlite", "mongodb"), ("mongodb", "sqlite")], ids=" to ".join)
def ends(request, homes, image_with):
    """A catalog with something of everything, and an empty one of the other kind."""
    source, target = request.param
    catalog = open_at(homes.addresses[source])
    fill(catalog, image_with)
    yield catalog, homes(source), homes(target), homes.addresses[target]
    catalog.close()


def new_pull(tag, **more):
    values = {"system": "mycluster", "image_type": "docker", "pull_tag": tag, "format": "squashfs"}
    return NewPull(**values | {"puller": 1} | more)


def claim(catalog, now=NOW):
    return catalog.claim(["mycluster"], "w", LEASE, now)


def fill(catalog, image_with):
    private = image_with(
        private=True, labels={"a.b": "c"}, size=1 << 40, expiration=NOW + 9,
        details=ImageDetails(author="me"),
    )  # fmt: skip
    catalog.add_pull(new_pull("app:1", user_acl=(5, 6), group_acl=(7,)), NOW)
    catalog.publish(claim(catalog), private, NOW)
    # The same content under a name of another type.
    catalog.add_pull(new_pull("mine:1", image_type="custom", source_path="/x"), NOW)
    catalog.publish(claim(catalog), private, NOW + 1)
    catalog.add_pull(new_pull("pub:1", puller=2), NOW)
    catalog.publish(claim(catalog), image_with(image_id="b" * 64, env=None), NOW + 2)
    catalog.add_pull(new_pull("bad:1", puller=3), NOW)
    catalog.fail(claim(catalog), "no such image")
    (failed,) = [record for record in catalog.list_queue("mycluster")]
    catalog.tell_failure(failed, 3)
    catalog.add_pull(new_pull("next:1", sealed_credentials="sealed"), NOW + 3)
    claim(catalog, NOW + 3)
    catalog.add_lookup(LOOKUP)
    catalog.add_usage([COUNT])
    catalog.set_stock("mycluster", "2027-01-15", 2, 1 << 41)


def comparable(record, *names):
    """All that a record says, but for what belongs to a home or a worker."""
    values = dict(vars(record))
    for name in ("key", "last_heartbeat", "attempts", *names):
        values.pop(name)
    values["labels"] = values["labels"] and dict(values["labels"])
    return values | {"tags": set(record.tags)}


def test_everything_is_carried_and_verified(ends):
    source, origin, goal, address = ends

    report = migrate.run(origin, goal, dry_run=False, merge=False)

    target = open_at(address)
    try:
        assert report.problems == []
        assert report.written == Counter(
            {"records": 4, "details": 1, "lookups": 1, "usage days": 1, "usage counts": 1}
        )
        assert [comparable(record) for record in target.list_ready("mycluster")] == [
            comparable(record) for record in source.list_ready("mycluster")
        ]
        for image_type, tag in (("docker", "app:1"), ("custom", "mine:1"), ("docker", "pub:1")):
            found = target.find_ready("mycluster", image_type, tag)
            assert found.image_id == source.find_ready("mycluster", image_type, tag).image_id
        assert target.find_ready("mycluster", "docker", "mine:1") is None
        assert target.find_details("mycluster", "a" * 64).author == "me"
        assert target.list_lookups("mycluster", 9) == [LOOKUP]
        assert target.usage_counts("mycluster", "2027-01-01") == [COUNT]
        assert target.usage_days("mycluster", "2027-01-01") == [
            UsageDay(day="2027-01-15", images=2, bytes=1 << 41, lookups=3)
        ]
    finally:
        target.close()


def test_jobs_begin_anew_and_failures_are_told_once(ends):
    _, origin, goal, address = ends
    migrate.run(origin, goal, dry_run=False, merge=False)

    target = open_at(address)
    try:
        failed, waiting = sorted(target.list_queue("mycluster"), key=lambda r: r.state.value)
        assert (failed.state, failed.status_message) == (PullState.FAILURE, "no such image")
        assert target.tell_failure(failed, 3) is False
        assert (waiting.state, waiting.attempts) == (PullState.PENDING, 0)
        taken = claim(target)
        assert taken.record.pull_tag == "next:1"
        assert taken.sealed_credentials == "sealed"
        assert target.workers() == ["w"]
    finally:
        target.close()


def test_to_do_it_twice_is_to_do_it_once(ends):
    _, origin, goal, _ = ends
    migrate.run(origin, goal, dry_run=False, merge=False)
    there = goal.count()

    with pytest.raises(ConfigError, match="is not empty"):
        migrate.run(origin, goal, dry_run=False, merge=False)
    report = migrate.run(origin, goal, dry_run=False, merge=True)

    assert report.problems == []
    assert goal.count() == there
    assert report.written["records"] == report.written["lookups"] == 0


def test_what_is_there_already_keeps_its_names(ends, image_with):
    _, origin, goal, address = ends
    target = open_at(address)
    try:
        target.add_pull(new_pull("pub:1"), NOW)
        target.publish(claim(target), image_with(image_id="d" * 64), NOW)

        report = migrate.run(origin, goal, dry_run=False, merge=True)

        assert report.problems == []
        assert target.find_ready("mycluster", "docker", "pub:1").image_id == "d" * 64
        assert target.find_ready_id("mycluster", "b" * 64, "squashfs") is not None
        assert target.find_ready("mycluster", "docker", "app:1").image_id == "a" * 64
    finally:
        target.close()


def test_a_dry_run_writes_nothing(ends):
    _, origin, goal, _ = ends

    report = migrate.run(origin, goal, dry_run=True, merge=False)

    assert report.found["records"] == 4
    assert not report.written
    assert not goal.count()


def test_a_carried_catalog_takes_new_pulls_as_before(ends, image_with):
    _, origin, goal, address = ends
    migrate.run(origin, goal, dry_run=False, merge=False)

    target = open_at(address)
    try:
        claim(target)  # the pull that waited
        target.add_pull(new_pull("app:1", puller=1), NOW + 9)
        target.publish(claim(target), image_with(image_id="e" * 64), NOW + 9)

        assert target.find_ready("mycluster", "docker", "app:1").image_id == "e" * 64
        assert target.find_ready("mycluster", "custom", "mine:1").image_id == "a" * 64
    finally:
        target.close()


# A database of the original's


def test_what_the_original_recorded_is_carried_into_a_file(original, homes):
    before = {name: list(original[name].find()) for name in recorded()}

    report = migrate.run(homes("mongodb"), homes("sqlite"), dry_run=False, merge=False)

    assert report.problems == []
    assert {name: list(original[name].find()) for name in before} == before  # untouched
    target = open_at(homes.addresses["sqlite"])
    try:
        ready = [one for one in recorded()["images"] if one["status"] == "READY"]
        assert report.names == len({tag for one in ready for tag in one["tag"]})
        for one in ready:
            found = target.find_ready(one["system"], one["itype"], one["tag"][0])
            assert found.image_id == one["id"]
            assert found.to_wire()["ENV"] == one.get("ENV", "MISSING")
            assert (found.private, found.expiration) == (one["private"], one.get("expiration"))
        failed = [one for one in recorded()["images"] if one["status"] == "FAILURE"]
        queued = target.list_queue("mycluster")
        assert {r.pull_tag for r in queued} >= {one["pulltag"] for one in failed}
        assert len(target.list_lookups("mycluster", 99)) == len(recorded().get("metrics", []))
    finally:
        target.close()


def test_documents_of_old_releases_are_carried_as_they_would_be_healed(documents, homes):
    old = {"system": "mycluster", "itype": "docker", "pulltag": "old:1", "id": "a" * 64}
    documents["images"].insert_many(
        [
            old | {"tag": "old:1", "status": "SUCCESS", "last_pull": 1.0},
            # The same content once more, pulled later under another name.
            old | {"tag": ["new:1"], "status": "READY", "format": "squashfs", "last_pull": 2.0},
            # An older image that still has the name.
            old | {"id": "b" * 64, "tag": ["new:1"], "status": "READY", "last_pull": 0.5},
            {"system": "mycluster", "itype": "docker", "status": "ENQUEUED"},
            old | {"status": "EXPIRED", "tag": []},
        ]
    )

    report = migrate.run(homes("mongodb"), homes("sqlite"), dry_run=False, merge=False)

    target = open_at(homes.addresses["sqlite"])
    try:
        assert report.problems == []
        assert target.find_ready("mycluster", "docker", "old:1").image_id == "a" * 64
        assert target.find_ready("mycluster", "docker", "new:1").image_id == "a" * 64
        assert target.find_ready_id("mycluster", "b" * 64, "squashfs").tags == ()
        assert [record.state for record in target.list_queue("mycluster")] == [PullState.FAILURE]
        assert report.left_out == {
            "records of images that are gone": 1,
            "second records of one image (the newest is carried)": 1,
        }
    finally:
        target.close()


def test_what_a_start_will_put_right_is_told_without_doing_it(documents, homes):
    old = {"system": "mycluster", "itype": "docker", "pulltag": "old:1", "id": "a" * 64}
    documents["images"].insert_one(old | {"tag": "old:1", "status": "SUCCESS"})

    found = homes("mongodb").ailments()

    assert found["tags that are one text, which become a list"] == 1
    assert found["statuses of old releases, which get their names of today"] == 1
    assert documents["images"].find_one()["tag"] == "old:1"


def test_a_database_that_a_gateway_has_used_needs_nothing(ends, homes, image_with):
    catalog = open_at(homes.addresses["mongodb"])
    catalog.check()
    catalog.close()

    assert not homes("mongodb").ailments()


# As it is typed


@pytest.fixture
def typed(tmp_path, homes, monkeypatch):
    """`shifter-gateway migrate` with an imagemanager.json whose catalog is the SQLite file."""
    monkeypatch.setattr(own_account, "become", lambda _: None)

    def run(*arguments):
        path = tmp_path / "imagemanager.json"
        path.write_text(
            json.dumps(
                {
                    "Authentication": "mock",
                    "CacheDirectory": str(tmp_path / "cache"),
                    "CatalogPath": homes.addresses["sqlite"].removeprefix("sqlite:"),
                    "DefaultImageFormat": "squashfs",
                    "DefaultImageLocation": "reg",
                    "Locations": {"reg": {}},
                    "Platforms": {"mycluster": {"local": {"imageDir": str(tmp_path)}}},
                }
            )
        )
        return CliRunner().invoke(main, ["migrate", "--config", str(path), *arguments])

    return run


def test_it_says_what_it_did(typed, homes, image_with):
    catalog = open_at(homes.addresses["sqlite"])
    fill(catalog, image_with)
    catalog.close()

    result = typed("--to", homes.addresses["mongodb"])

    assert result.exit_code == 0, result.output
    assert "records:      4, 4 of them new there\n" in result.output
    assert "verified: all counts agree, and so do 3 names of images" in result.output
    again = typed("--to", homes.addresses["mongodb"])
    assert again.exit_code == 1
    assert "is not empty (4 records" in again.output


def test_a_check_of_the_original_s_database_says_what_will_change(typed, original, homes):
    result = typed("--from", homes.addresses["mongodb"], "--check")

    assert result.exit_code == 0
    assert "records," in result.output.splitlines()[0]


def test_no_password_is_shown(typed):
    result = typed("--from", "mongodb://me:s3cret@127.0.0.1:1/Shifter", "--dry-run")

    assert result.exit_code == 1
    assert "s3cret" not in result.output
    assert "127.0.0.1:1" in result.output


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ((), "give --from PLACE or --to PLACE"),
        (("--to", "mysql:x"), "a place is sqlite:FILE or mongodb://"),
        (("--to", "mongodb://127.0.0.1:1"), "and there is no DATABASE"),
        (("--from", "sqlite:/nowhere/x"), "there is no SQLite file '/nowhere/x'"),
    ],
)
def test_misuse_is_told_in_words(typed, arguments, words):
    result = typed(*arguments)

    assert result.exit_code == 1
    assert words in result.output


def test_a_catalog_in_use_is_left_alone(typed, homes, tmp_path, monkeypatch):
    monkeypatch.setattr(migrate, "is_locked", lambda _: True)

    assert "stop it first" in typed("--to", homes.addresses["mongodb"]).output


def test_one_place_cannot_be_both_ends(homes):
    with pytest.raises(ConfigError, match="are the same"):
        migrate.run(homes("sqlite"), homes("sqlite"), dry_run=False, merge=False)


def test_a_server_that_is_away_is_named(homes):
    away = MongoHome.at("mongodb://127.0.0.1:1/Shifter")
    try:
        with pytest.raises(CatalogError, match="127.0.0.1:1 does not answer"):
            migrate.run(homes("sqlite"), away, dry_run=True, merge=False)
    finally:
        away.close()


def test_documents_are_as_the_gateway_writes_them(homes, documents, image_with):
    catalog = open_at(homes.addresses["sqlite"])
    fill(catalog, image_with)
    catalog.close()
    migrate.run(homes("sqlite"), homes("mongodb"), dry_run=False, merge=False)

    carried = documents["images"].find_one({"pulltag": "pub:1"})

    for name, value in {"location": "", "ostcount": "0", "replication": "1"}.items():
        assert carried[name] == value
    assert carried["tag"] == ["pub:1"]
    assert carried["private"] is False
