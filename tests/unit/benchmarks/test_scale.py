# SPDX-License-Identifier: BSD-3-Clause
"""What is counted of a cluster, what must be zero, and what the documentation says of it."""

from __future__ import annotations

import collections
import dataclasses
import os

import pytest

from benchmarks import scale, scale_table
from benchmarks.programs import BenchmarkError, Cost
from benchmarks.scale_gateway import Played, Submitted, requests_in
from benchmarks.scale_node import Ranks, node_list
from benchmarks.scale_shared import (
    AGAIN,
    ALONE,
    CONFIGURATION,
    FIRST,
    IMAGE,
    OPENS,
    PROLOG,
    Traffic,
)
from benchmarks.scale_storm import Storm

PAGE = """\
# HELP shifter_http_requests_total Requests, by route and status.
# TYPE shifter_http_requests_total counter
shifter_http_requests_total{route="lookup",status="200"} 12
shifter_http_requests_total{route="lookup",status="404"} 3
shifter_http_requests_total{route="show_metrics",status="200"} 9
shifter_lookups_total{system="a",result="found"} 12
"""
CALM = Played(1, 1, Storm([0.1], 0.1), 1, 0.0)


def traffic(**opens):
    return Traffic(collections.Counter({(file, OPENS): count for file, count in opens.items()}))


def ranks(**more):
    fields = {
        "count": 4, "seconds": 1.0, "cpu_seconds": 0.04, "mounts": 33, "namespaces": 1,
        "mounts_inside": 21, "devices": 1, "hostsfile": 240,
    }  # fmt: skip
    return Ranks(**(fields | more))


def measured(**more):
    storm = Storm(seconds=[0.1, 0.3], elapsed=0.5)
    node = scale.OneNode(
        small=Cost(0.02, 0.02, 0),
        prolog=Cost(0.03, 0.03, 0),
        nodes=node_list(10, 4),
        mounts_before=31,
        job=ranks(),
        requests={"name no image": 0},
        alone=ranks(namespaces=4),
        requests_alone=4,
    )
    opened = traffic(**{CONFIGURATION: 4})
    fields = {
        "nodes": 10, "ranks": 4,
        "storms": (Played(2, 2, storm, 2, 0.002),),
        "submitted": Submitted(5, 5, 0.1, (0.1,) * 5),
        "node": node,
        "shared": dict.fromkeys((PROLOG, FIRST, AGAIN, ALONE), opened),
        "calls": (),
    }  # fmt: skip
    return scale.Measured(**(fields | more))


def missed(made):
    return [budget.text for budget in scale.report(made).budgets if budget.reached is False]


def test_requests_for_the_count_itself_are_not_counted():
    assert requests_in(PAGE) == 15


@pytest.mark.parametrize(
    ("nodes", "hosts", "tasks"),
    [(1, "", "128"), (2, ",n[1-1]", "128(x2)"), (10_000, ",n[00001-09999]", "128(x10000)")],
)
def test_nodes_are_listed_as_slurm_does_it_and_this_is_one_of_them(nodes, hosts, tasks):
    made = node_list(nodes, 128)

    assert made.hosts == os.uname().nodename.partition(".")[0] + hosts
    assert made.tasks == tasks


def test_of_libslurm_only_the_log_stays_in_the_process():
    symbols = ["spank_getenv", "slurm_error", "slurm_load_job", "slurm_spank_log", "stepd_connect"]

    assert scale.calls_in(symbols) == ("slurm_load_job", "stepd_connect")


def test_what_holds_at_any_size_holds():
    assert missed(measured()) == []


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"storms": (Played(3, 3, Storm([0.1], 0.1), 3, 0.0),)}, "submissions without an answer"),
        (
            {"storms": (CALM, Played(1, 1, Storm([0.1], 0.1), 2, 0.0))},
            "requests for each submission played",
        ),
        ({"submitted": Submitted(5, 6, 0.1, (0.1,))}, "requests for each real submission"),
        ({"calls": ("slurm_load_job",)}, "functions of the plugin that may ask slurmctld"),
        (
            {"shared": dict.fromkeys((PROLOG, FIRST, AGAIN, ALONE), traffic(**{IMAGE: 4}))},
            "opens of images, by each rank that joins",
        ),
    ],
)
def test_what_would_break_a_cluster_is_said(change, text):
    assert missed(measured(**change)) == [text]


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"requests": {"name it by tag": 4}}, "requests of ranks that name it by tag"),
        ({"job": ranks(namespaces=4)}, "mount namespaces of all ranks"),
        ({"job": ranks(devices=4)}, "loop devices of all ranks"),
        ({"requests_alone": 0}, "requests of ranks outside of the job, so that they do count"),
    ],
)
def test_what_would_break_a_node_is_said(change, text):
    node = dataclasses.replace(measured().node, **change)

    assert missed(measured(node=node)) == [text]


def test_a_plugin_that_was_not_built_is_not_counted():
    made = scale.report(measured(calls=None))

    assert [budget.reached for budget in made.budgets][-1] is None


def test_the_table_multiplies_what_one_node_does():
    rows = {row.what: row for row in scale_table.rows(measured())}

    opens = rows["... of udiRoot.conf, where that is there, too"]
    assert (opens.one, opens.all, opens.grows) == ("1", "40", "ranks")
    assert rows["mounts that the node sees of it, shown on udiMount"].one == "2"
    assert rows["`/var/hostsfile`, in the memory of each node"].one == "24 bytes a node"


def test_the_table_replaces_the_one_before_and_nothing_else(tmp_path):
    page = tmp_path / "scaling.md"
    page.write_text(
        f"words\n\n{scale_table.BEGIN}\nof the last run\n{scale_table.END}\n\nmore words\n"
    )

    scale_table.write(measured(), page)
    first = page.read_text()
    scale_table.write(measured(), page)

    assert page.read_text() == first
    assert first.startswith("words\n\n")
    assert first.endswith("\n\nmore words\n")
    assert "of the last run" not in first
    assert "| 10 nodes × 4 ranks |" in first


def test_a_page_without_a_place_for_the_table_is_left_alone(tmp_path):
    page = tmp_path / "scaling.md"
    page.write_text("words")

    with pytest.raises(BenchmarkError, match="no place for the tables"):
        scale_table.write(measured(), page)
    assert page.read_text() == "words"


@pytest.mark.parametrize(
    ("count", "text"),
    [(0, "0 bytes"), (999, "999 bytes"), (979_000, "979 KB"), (9.79e9, "9.79 GB"), (2e12, "2 TB")],
)
def test_sizes_have_three_digits(count, text):
    assert scale_table._size(count) == text
