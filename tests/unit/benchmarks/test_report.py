# SPDX-License-Identifier: BSD-3-Clause
"""What a reader of a benchmark is told."""

from __future__ import annotations

import json

import pytest

from benchmarks.report import Budget, Measurement, Report

OURS = Measurement(name="ours", seconds=(2.0, 1.0, 30.0))


def report(*others, budgets=()):
    return Report(title="pull", ours="ours", measurements=(OURS, *others), budgets=budgets)


def test_a_ratio_compares_medians():
    assert report(Measurement(name="theirs", seconds=(50.0,))).ratio("theirs") == 25


def test_what_was_not_measured_has_no_ratio_but_a_reason():
    made = report(Measurement(name="theirs", note="not installed here: umoci"))

    assert made.ratio("theirs") is None
    assert "not installed here: umoci" in str(made)


@pytest.mark.parametrize(
    ("percent", "expected"), [(50, 50), (95, 95), (99, 99), (100, 100), (0, 1)]
)
def test_percentiles_are_measured_values(percent, expected):
    hundred = Measurement(name="ours", seconds=tuple(range(100, 0, -1)))

    assert hundred.percentile(percent) == expected


@pytest.mark.parametrize(
    ("measured", "at_least", "reached"),
    [(9, False, True), (11, False, False), (11, True, True), (9, True, False), (None, True, None)],
)
def test_a_budget_is_reached_on_one_side_of_its_limit(measured, at_least, reached):
    budget = Budget(text="x", limit=10, measured=measured, at_least=at_least)

    assert budget.reached is reached


def test_the_json_form_repeats_ratios_and_verdicts(tmp_path):
    made = report(
        Measurement(name="theirs", seconds=(4.0,)),
        budgets=(Budget(text="x", limit=1, measured=2),),
    )
    made.write(tmp_path / "report.json")

    read = json.loads((tmp_path / "report.json").read_text())
    assert [one["ratio"] for one in read["measurements"]] == [1, 2]
    assert read["budgets"][0]["reached"] is False
