# SPDX-License-Identifier: BSD-3-Clause
"""What records of the gateway make of each other."""

from __future__ import annotations

from shifter_imagegw.records import UsageCount, UsageDay, by_day


def count(system, day, image, **numbers):
    return UsageCount(system=system, day=day, image=image, uid=None, restricted=False, **numbers)


def test_each_day_of_each_system_is_summed_once_over_its_images():
    counts = [
        count("a", "2027-01-15", "docker:x:1", lookups=2, pulls=1),
        count("a", "2027-01-15", "docker:y:1", lookups=3, failures=4),
        count("a", "2027-01-16", "docker:x:1", lookups=5),
        count("b", "2027-01-15", "docker:x:1", pulls=6),
    ]

    assert by_day(counts) == {
        ("a", "2027-01-15"): UsageDay(day="2027-01-15", lookups=5, pulls=1, failures=4),
        ("a", "2027-01-16"): UsageDay(day="2027-01-16", lookups=5),
        ("b", "2027-01-15"): UsageDay(day="2027-01-15", pulls=6),
    }
