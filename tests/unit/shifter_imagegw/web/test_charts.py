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
    days = [day(1, images=10, bytes=1 << 30), day(2, images=7, bytes=3 << 30)]

    assert chart("images", days).figure == "7"
    assert chart("images", days).note == "3 less than 2 days ago"
    assert chart("bytes", days).note == "2 GiB more than 2 days ago"


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
    ("value", "peak"),
    [(0, 1024), (1024, 1024), (140 << 30, 192 << 30), (1000 << 30, 1 << 40), (1 << 60, 1 << 60)],
)
def test_scales_of_sizes_end_with_a_unit_of_1024(value, peak):
    assert charts.round_size(value) == peak
