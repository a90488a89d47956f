# SPDX-License-Identifier: BSD-3-Clause
from __future__ import annotations

import dataclasses

import pytest

from shifter_common.reference import ImageReference
from shifter_imagegw.acl import Acl
from shifter_imagegw.errors import BadRequestError, CatalogError, NotPermittedError
from shifter_imagegw.operation import usage as noting
from shifter_imagegw.records import UsageCount
from shifter_imagegw.rules import usage_log
from shifter_imagegw.rules.auth import Caller

ALICE = Caller(uid=1001, gid=100, known_name="alice")
BOB = Caller(uid=1002, gid=100, known_name="bob")
ADMIN = Caller(uid=0, gid=0, known_name="root")
APP = ImageReference("docker", "app:1")
SECRET = ImageReference("docker", "secret:1")
DAY = 86400.0


@pytest.fixture
def gateway(gateway_with):
    """A gateway with an image for all, and one of Alice's that is for her alone."""
    gateway = gateway_with(Metrics=True)
    # The middle of a day, so that none of what follows happens across midnight.
    gateway.clock.now = 1_800_000_000.0 // DAY * DAY + DAY / 2
    pulled(gateway, APP, ALICE, "a")
    pulled(gateway, SECRET, ALICE, "b", Acl(users=(1001,)))
    return gateway


def pulled(gateway, reference, caller, content, acl=None):
    gateway.service.pull(gateway.system, reference, caller, acl or Acl())
    return gateway.work(content)


def look(gateway, reference=APP, caller=ALICE, times=1):
    for _ in range(times):
        gateway.service.lookup(gateway.system, reference, caller)


def stats(gateway, caller=ADMIN, days=7):
    return gateway.service.stats(gateway.system, caller, days)


def images_in(shown):
    return {row["image"]: (row["lookups"], row["users"]) for row in shown["top_images"]}


def count(image="docker:app:1", **more):
    values = {"system": "mycluster", "day": "2027-01-15", "uid": 1001, "restricted": False}
    return UsageCount(image=image, **values | more)


def test_each_lookup_is_counted_by_day_image_and_user(gateway):
    look(gateway, times=3)
    look(gateway, caller=BOB)

    shown = stats(gateway)

    assert shown["days"][-1] | {"day": ""} == {
        "day": "", "images": 2, "bytes": 8192, "lookups": 4, "pulls": 0, "failures": 0,
    }  # fmt: skip
    assert shown["days"][-1]["day"] == noting.day_of(gateway.clock.now)
    assert images_in(shown) == {"docker:app:1": (4, 2)}
    by_user = [(row["uid"], row["lookups"]) for row in shown["top_users"]]
    assert by_user == [(1001, 3), (1002, 1)]
    assert shown["totals"] == {
        "images": 2, "bytes": 8192, "lookups": 4, "pulls": 0, "failures": 0,
    }  # fmt: skip


def test_a_day_without_any_use_is_in_the_row_of_days_all_the_same(gateway):
    look(gateway)
    stats(gateway)
    gateway.clock.advance(2 * DAY)

    days = stats(gateway, days=4)["days"]

    assert [day["lookups"] for day in days] == [0, 1, 0, 0]
    assert [day["images"] for day in days] == [None, None, None, 2]


def test_what_happened_before_the_days_that_are_asked_for_does_not_count(gateway):
    look(gateway)
    stats(gateway)
    gateway.clock.advance(7 * DAY)

    shown = stats(gateway, days=7)

    assert shown["totals"]["lookups"] == 0
    assert shown["top_images"] == []


def test_a_lookup_by_id_counts_for_the_image_s_name(gateway):
    look(gateway, ImageReference("id", "a" * 64))

    assert images_in(stats(gateway)) == {"docker:app:1": (1, 1)}


@pytest.mark.parametrize("caller", [BOB, ALICE, None], ids=["bob", "owner", "anonymous"])
def test_others_than_administrators_see_public_images_and_no_user(gateway, caller):
    look(gateway)
    look(gateway, SECRET)

    shown = stats(gateway, caller)

    assert images_in(shown) == {"docker:app:1": (1, 1)}
    assert shown["top_users"] is None
    assert "secret" not in str(shown)
    assert shown["totals"]["lookups"] == 2


def test_administrators_see_private_images_too(gateway):
    look(gateway, SECRET)

    assert images_in(stats(gateway)) == {"docker:secret:1": (1, 1)}


def test_what_was_looked_up_while_it_was_private_stays_so_when_the_name_becomes_public(gateway):
    look(gateway, SECRET, times=5)
    gateway.service.expire(gateway.system, SECRET, ADMIN)
    gateway.catalog.finish_expire(gateway.claim())
    pulled(gateway, SECRET, BOB, "c")
    look(gateway, SECRET, BOB)

    assert images_in(stats(gateway, BOB)) == {"docker:secret:1": (1, 1)}


def test_a_public_image_that_is_gone_is_named_to_administrators_only(gateway):
    look(gateway)
    gateway.service.expire(gateway.system, APP, ADMIN)

    assert images_in(stats(gateway, BOB)) == {}
    assert images_in(stats(gateway)) == {"docker:app:1": (1, 1)}


def test_who_looks_up_is_not_kept_where_the_site_does_not_collect_that(gateway_with):
    gateway = gateway_with(Metrics=False)
    pulled(gateway, APP, ALICE, "a")
    look(gateway)

    shown = stats(gateway)

    assert images_in(shown) == {"docker:app:1": (1, None)}
    assert shown["top_users"] == []


@pytest.mark.parametrize("days", [0, 401])
def test_more_days_than_are_kept_cannot_be_asked_for(gateway, days):
    with pytest.raises(BadRequestError, match="a number from 1 to 400"):
        stats(gateway, days=days)


def test_a_year_is_added_up_once_a_minute_whoever_asks(gateway, monkeypatch):
    asked = []
    look(gateway)
    add_up = gateway.catalog.usage_counts
    monkeypatch.setattr(
        gateway.catalog, "usage_counts", lambda *arguments: asked.append(1) or add_up(*arguments)
    )

    first = stats(gateway, days=365)
    look(gateway)
    again = stats(gateway, BOB, days=365)

    assert len(asked) == 1
    assert images_in(first) == images_in(again) == {"docker:app:1": (1, 1)}
    assert again["top_users"] is None


def test_counts_are_kept_until_the_catalog_is_back(gateway, monkeypatch):
    log = usage_log.UsageLog(gateway.catalog)
    (record,) = gateway.catalog.list_ready("mycluster")[:1]
    monkeypatch.setattr(usage_log.threading.Thread, "start", lambda _: None)
    log.note(record, APP, 1001, gateway.clock.now)

    with monkeypatch.context() as away:
        away.setattr(gateway.catalog, "add_usage", raising)
        with pytest.raises(CatalogError):
            log.flush()
    log.note(record, APP, 1001, gateway.clock.now)
    log.flush()

    assert images_in(stats(gateway)) == {"docker:app:1": (2, 1)}


def raising(_counts):
    raise CatalogError("away")


def test_a_catalog_that_stays_away_costs_counts_but_no_memory(gateway, monkeypatch):
    monkeypatch.setattr(usage_log, "_MOST_KEPT", 2)
    monkeypatch.setattr(usage_log.threading.Thread, "start", lambda _: None)
    log = usage_log.UsageLog(gateway.catalog)
    (record,) = gateway.catalog.list_ready("mycluster")[:1]
    for uid in (1, 2, 3):
        log.note(record, APP, uid, gateway.clock.now)
    log.flush()

    assert images_in(stats(gateway)) == {"docker:app:1": (2, 2)}


def test_ends_of_pulls_are_counted_for_whom_they_were(gateway):
    pull = gateway.service.pull(gateway.system, ImageReference("docker", "new:1"), BOB, Acl())
    noting.note_end(gateway.catalog, pull, pull)
    noting.note_end(gateway.catalog, pull)
    gateway.clock.now = noting.time.time()

    (row,) = stats(gateway)["top_users"]

    assert (row["uid"], row["pulls"], row["failures"]) == (1002, 1, 1)


def test_a_catalog_that_is_away_fails_no_pull_for_the_sake_of_a_count(gateway, monkeypatch):
    monkeypatch.setattr(gateway.catalog, "add_usage", raising)
    (record,) = gateway.catalog.list_ready("mycluster")[:1]

    noting.note_end(gateway.catalog, record)


def test_stock_is_what_all_have_and_old_days_go(gateway):
    gateway.catalog.add_usage([count(day="2000-01-01", lookups=1), count(lookups=1)])

    noting.take_stock(gateway.catalog, ["mycluster"], gateway.config.usage, gateway.clock.now)

    (day,) = gateway.catalog.usage_days("mycluster", "2000-01-01")
    assert dataclasses.astuple(day) == ("2027-01-15", 2, 8192, 1, 0, 0)


def test_users_are_listed_by_the_space_that_they_take(gateway):
    pulled(gateway, ImageReference("docker", "big:1"), BOB, "c")
    gateway.service.pull(gateway.system, ImageReference("docker", "next:1"), BOB, Acl())

    rows = gateway.service.list_users(gateway.system, ADMIN)

    assert [(row["uid"], row["images"], row["bytes"], row["in_flight"]) for row in rows] == [
        (1001, 2, 8192, 0),
        (1002, 1, 4096, 1),
    ]
    assert all(row["last_pull"] == gateway.clock.now for row in rows)


def test_nobody_else_learns_who_has_what(gateway):
    with pytest.raises(NotPermittedError, match="only administrators of mycluster"):
        gateway.service.list_users(gateway.system, ALICE)


def test_the_routes_answer_as_the_rules_say(gateway):
    look(gateway)

    mine = gateway.request("GET", "/api/stats/mycluster/?days=2")
    users = gateway.request("GET", "/api/users/mycluster/", by="root:0:0")

    assert (mine.status_code, len(mine.json["days"]), mine.json["top_users"]) == (200, 2, None)
    assert [row["uid"] for row in users.json["list"]] == [1001]
    assert gateway.request("GET", "/api/users/mycluster/").status_code == 403
    assert gateway.request("GET", "/api/stats/mycluster/", by=None).status_code == 401
    assert gateway.request("GET", "/api/stats/mycluster/?days=x").status_code == 400
