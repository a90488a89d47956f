# SPDX-License-Identifier: BSD-3-Clause
from __future__ import annotations

import pytest

from shifter_imagegw.web import charts


def day(number, **known):
    nothing = {"images": None, "bytes": None, "pulls": 0, "failures": 0, "lookups": 0}
    return {"day": f"2026-11-{number:02}", **nothing, **known}


def chart(key, days):
    return next(chart for chart in charts.charts_of(days) if chart.key == key)


def test_the_highest_day_reaches_no_higher_than_the_drawing():
    days = [day(number, pulls=number * 7, failures=number) for number in range(1, 11)]

    bars = [bar for series in chart("pulls", days).series for bar in series.bars]

    assert min(bar.y for bar in bars) >= 0
    assert all(bar.y + bar.height <= charts.HEIGHT + 0.01 for bar in bars)
    assert chart("pulls", days).top == "100"


def test_failures_stand_on_pulls():
    found = chart("pulls", [day(1, pulls=3, failures=1)])

    ((pulls,), (failures,)) = (series.bars for series in found.series)

    assert failures.y + failures.height == pytest.approx(pulls.y, abs=0.1)
    assert pulls.height == pytest.approx(3 * failures.height, abs=0.1)


def test_days_that_were_not_counted_are_no_zeros():
    days = [day(1, images=10), day(2), day(3, images=10)]

    (series,) = chart("images", days).series

    assert series.line == "5,0 25,0"
    assert chart("images", days).days[1] == (10, "2 Nov 2026: not counted")


def test_figures_say_what_has_changed():
    days = [day(1), day(2, images=10, bytes=10**9), day(3, images=7, bytes=3 * 10**9)]

    assert chart("images", days).figure == "7"
    assert chart("images", days).note == "3 less than on 2 Nov 2026"
    assert chart("bytes", days).note == "2.0 GB more than on 2 Nov 2026"
    assert chart("bytes", days[:2]).note == "counted since today"
    assert chart("bytes", days[:1]).note == "not counted yet"


def test_an_empty_history_can_be_drawn():
    for found in charts.charts_of([day(1)]):
        assert found.figure in ("0", "0 B")
        assert found.summary


@pytest.mark.parametrize(
    ("value", "peak"), [(0, 2), (1, 2), (3, 4), (7, 8), (11, 20), (21, 25), (99, 100), (1e6, 1e6)]
)
def test_scales_end_with_a_number_that_is_easy_to_read(value, peak):
    assert charts.round_number(value) == peak


@pytest.mark.parametrize(
    ("value", "top", "middle"),
    [
        (0, "1 kB", "500 B"),
        (999, "1 kB", "500 B"),
        (140e9, "200 GB", "100 GB"),
        (1.9e9, "2 GB", "1 GB"),
        (5.1e6, "6 MB", "3 MB"),
        (6.2e13, "80 TB", "40 TB"),
        (1e12, "1 TB", "500 GB"),
    ],
)
def test_scales_of_sizes_are_round_in_the_units_of_the_commands(value, top, middle):
    found = chart("bytes", [day(1, bytes=value)])

    assert (found.top, found.middle) == (top, middle)
