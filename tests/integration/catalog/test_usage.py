# SPDX-License-Identifier: BSD-3-Clause
"""What every `Catalog` must do about usage over time."""

from __future__ import annotations

import threading
from datetime import timedelta

from shifter_imagegw.records import Holding, NewPull, UsageCount, UsageDay

LEASE = timedelta(seconds=30)
NOW = 1_800_000_000.5


def count(day="2027-01-15", image="docker:app:1", uid=1, restricted=False, **numbers):
    return UsageCount(
        system=numbers.pop("system", "mycluster"),
        day=day, image=image, uid=uid, restricted=restricted, **numbers,
    )  # fmt: skip


def publish(catalog, image, tag, puller):
    new = NewPull(
        system="mycluster", image_type="docker", pull_tag=tag, format="squashfs", puller=puller
    )
    catalog.add_pull(new, NOW)
    catalog.publish(catalog.claim(["mycluster"], "w", LEASE, NOW), image, NOW)


def test_what_is_counted_adds_up(catalog):
    catalog.add_usage([count(lookups=2), count(lookups=3, pulls=1)])
    catalog.add_usage([count(lookups=1, failures=4)])

    assert catalog.usage_counts("mycluster", "2027-01-01") == [
        count(lookups=6, pulls=1, failures=4)
    ]
    assert catalog.usage_days("mycluster", "2027-01-01") == [
        UsageDay(day="2027-01-15", lookups=6, pulls=1, failures=4)
    ]


def test_images_users_and_restrictions_are_told_apart_and_days_summed(catalog):
    told_apart = [
        count(image="docker:a:1", lookups=1),
        count(image="docker:b:1", lookups=1),
        count(image="docker:b:1", uid=None, lookups=1),
        count(image="docker:b:1", restricted=True, lookups=1),
    ]
    catalog.add_usage([*told_apart, count("2027-01-14", image="docker:a:1", lookups=5)])

    found = catalog.usage_counts("mycluster", "2027-01-01")

    assert sorted(found, key=str) == sorted(
        [count(image="docker:a:1", lookups=6), *told_apart[1:]], key=str
    )
    days = catalog.usage_days("mycluster", "2027-01-01")
    assert [(day.day, day.lookups) for day in days] == [("2027-01-14", 5), ("2027-01-15", 4)]


def test_only_the_system_and_the_days_that_are_asked_for_are_shown(catalog):
    catalog.add_usage(
        [count(system="other", lookups=1), count("2027-01-13", lookups=1), count(lookups=1)]
    )

    assert catalog.usage_counts("mycluster", "2027-01-14") == [count(lookups=1)]
    assert [day.day for day in catalog.usage_days("mycluster", "2027-01-14")] == ["2027-01-15"]


def test_stock_takes_the_place_of_what_was_noted_before_and_leaves_counts_alone(catalog):
    catalog.set_stock("mycluster", "2027-01-15", 1, 100)
    catalog.add_usage([count(pulls=1)])
    catalog.set_stock("mycluster", "2027-01-15", 2, 1 << 45)

    assert catalog.usage_days("mycluster", "2027-01-01") == [
        UsageDay(day="2027-01-15", images=2, bytes=1 << 45, pulls=1)
    ]


def test_days_before_one_are_forgotten(catalog):
    catalog.add_usage([count("2027-01-13", lookups=1), count("2027-01-14", lookups=1)])

    catalog.purge_usage("2027-01-14")

    assert [day.day for day in catalog.usage_days("mycluster", "2000-01-01")] == ["2027-01-14"]
    assert catalog.usage_counts("mycluster", "2000-01-01") == [count("2027-01-14", lookups=1)]


def test_an_image_s_name_may_be_long_and_odd(catalog):
    name = "docker:" + "ä$.\\" * 500

    catalog.add_usage([count(image=name, lookups=1)])

    (found,) = catalog.usage_counts("mycluster", "2027-01-01")
    assert found.image == name


def test_no_count_is_lost_where_many_begin_the_same_day(open_catalog):
    catalogs = [open_catalog() for _ in range(4)]

    def add(catalog):
        for _ in range(10):
            catalog.add_usage([count(lookups=1), count(image="docker:b:1", lookups=1)])

    threads = [threading.Thread(target=add, args=[catalog]) for catalog in catalogs]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    (day,) = catalogs[0].usage_days("mycluster", "2027-01-01")
    assert day.lookups == 80


def test_holdings_are_by_who_was_first_to_pull(catalog, image_with):
    publish(catalog, image_with(image_id="a" * 64, size=10), "a:1", 1)
    publish(catalog, image_with(image_id="b" * 64, size=20), "b:1", 1)
    publish(catalog, image_with(image_id="c" * 64, size=5), "c:1", 2)
    publish(catalog, image_with(image_id="d" * 64, size=7), "d:1", None)

    found = {each.uid: each for each in catalog.holdings("mycluster")}

    assert found == {
        1: Holding(uid=1, images=2, bytes=30, last_pull=NOW),
        2: Holding(uid=2, images=1, bytes=5, last_pull=NOW),
        None: Holding(uid=None, images=1, bytes=7, last_pull=NOW),
    }
    assert catalog.holdings("other") == []
