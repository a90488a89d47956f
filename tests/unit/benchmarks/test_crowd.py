# SPDX-License-Identifier: BSD-3-Clause
"""Who waits in a crowd, what it is told, and how its conversions are counted."""

from __future__ import annotations

import pytest

from benchmarks import crowd
from benchmarks.crowd import conversions_in, shares_of
from benchmarks.memory import MemoryWatch, ProcessMemory
from benchmarks.puller import Outcome


@pytest.mark.parametrize(
    ("clients", "shares"), [(200, [50] * 4), (7, [2, 2, 2, 1]), (2, [1, 1]), (1, [1])]
)
def test_clients_are_spread_evenly_over_processes(clients, shares):
    assert shares_of(clients, 4) == shares


def test_a_conversion_is_a_pull_that_some_worker_started(tmp_path):
    text, json_lines = tmp_path / "gateway.log", tmp_path / "celery.log"
    text.write_text(
        "2026-01-01 INFO 7 pull requested image=docker:a\n"
        "2026-01-01 INFO 8 pull started image=docker:a attempt=1\n"
        "2026-01-01 INFO 8 pull finished image=docker:a\n"
    )
    json_lines.write_text('{"event": "pull started", "image": "docker:a"}\n')

    assert conversions_in([text]) == 1
    assert conversions_in([text, json_lines]) == 2


def pulled(outcomes, conversions=1):
    watch = MemoryWatch(1)
    watch._seen = {
        2: ProcessMemory(2, 1, "celery", 60 << 20),
        3: ProcessMemory(3, 2, "tar2sqfs", 20 << 20),
        4: ProcessMemory(4, 1, "celery", 900 << 20),
    }
    return crowd._Pulled(tuple(outcomes), conversions, watch)


def test_one_client_that_saw_no_image_is_a_budget_not_reached():
    outcomes = [Outcome(seconds=1.0), Outcome(failure="docker:a: no such image")]

    made = pulled(outcomes)
    seen, conversions, memory = crowd._budgets(2, made)

    assert (seen.reached, conversions.reached, memory.reached) == (False, True, True)
    assert made.as_measurement("all").note == "1 failed: docker:a: no such image"


def test_a_second_conversion_is_a_budget_not_reached():
    assert crowd._budgets(1, pulled([Outcome(seconds=1.0)], conversions=2))[1].reached is False


def test_memory_is_that_of_the_worker_which_converts():
    assert pulled([]).worker == 80 << 20
