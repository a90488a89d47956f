# SPDX-License-Identifier: BSD-3-Clause
from __future__ import annotations

import time

import pytest

from shifter_runtime.errors import UsageError
from shifter_runtime.job import hosts, node_list, options

ID = "a" * 64


def expand(text: str) -> list[str]:
    return node_list.expand(text, "--nodelist")


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("n1", ["n1"]),
        ("n1,n2.example.org", ["n1", "n2.example.org"]),
        ("n[1-3,7],m1", ["n1", "n2", "n3", "n7", "m1"]),
        ("n[9-11]", ["n9", "n10", "n11"]),
        ("n[07-10]", ["n07", "n08", "n09", "n10"]),
        ("n[098-101]", ["n098", "n099", "n100", "n101"]),
        ("n[1-2]-ib[0-1]", ["n1-ib0", "n1-ib1", "n2-ib0", "n2-ib1"]),
        ("r[1-2]c[3,5]s", ["r1c3s", "r1c5s", "r2c3s", "r2c5s"]),
        ("[1-2]", ["1", "2"]),
        ("n[5]", ["n5"]),
        ("n2,n1,n2", ["n2", "n1", "n2"]),
    ],
)
def test_a_shortened_list_stands_for_its_names_in_order(text, names):
    assert expand(text) == names


@pytest.mark.parametrize(
    "text",
    [
        *("", ",", "n1,", ",n1", "n[", "n]", "n[1", "n1]", "n[]", "n[1,]", "n[-3]", "n[1-]"),
        *("n[3-1]", "n[1-2-3]", "n[a-b]", "n[[1]]", "n[1]]", "n[१-३]", "n[1;reboot]", "n1 n2"),
        *("../x", "-n1", ".n1", "n1;reboot", "n\n1", "x" * 254, "x" * 253 + "[1-2]"),
        *("n[1-9999999999]", "n" + "[1]" * 9, "n" + "[1]" * 40_000, "[1-2],,"),
    ],
)
def test_what_is_no_list_of_hosts_is_refused_in_a_short_sentence(text):
    with pytest.raises(UsageError) as caught:
        expand(text)

    assert len(str(caught.value)) < 500


@pytest.mark.parametrize(
    "text",
    [
        *("n[1-999999999]", "n[0-262144]", "n[0-9]" * 1 + "[0-99999]", "n" + "[0-99]" * 8),
        *(",".join(["n[1-200000]"] * 2), "n[" + "1-200000," * 5000 + "1]"),
        ",".join(["n[1-200000]"] * 8000),
    ],
)
def test_a_list_that_stands_for_too_many_is_refused_before_it_is_made(text):
    began = time.process_time()

    with pytest.raises(UsageError, match="more than 262144 nodes"):
        expand(text)

    assert time.process_time() - began < 1


def test_words_of_many_nodes_each_are_counted_together():
    with pytest.raises(UsageError, match="--nodes: more than 262144 nodes"):
        hosts.parse(" ".join(["n[1-200000]/0"] * 8000))


@pytest.mark.parametrize(
    ("text", "numbers"),
    [("2", [2]), ("2(x3),1", [2, 2, 2, 1]), ("128(x2),64,128", [128, 128, 64, 128])],
)
def test_numbers_of_tasks_are_repeated_as_often_as_it_says(text, numbers):
    assert node_list.expand_numbers(text, "--tasks-per-node") == numbers


@pytest.mark.parametrize(
    "text",
    ["", ",", "x", "2(x)", "2(x3", "2(3)", "2x3", "-1", "2(x-1)", "१", "2(x1)x", "2()", "2(x1(x2)"],
)
def test_what_are_no_numbers_of_tasks_is_refused(text):
    with pytest.raises(UsageError, match="is not of the form"):
        node_list.expand_numbers(text, "--tasks-per-node")


def test_numbers_for_too_many_nodes_are_refused():
    with pytest.raises(UsageError, match="more than 262144 nodes"):
        node_list.expand_numbers(",".join(["1(x200000)"] * 5000), "--tasks-per-node")


def test_what_slurm_says_of_a_job_becomes_its_nodes():
    words = ["-u", "a", "--nodelist=n[1-2],m1", "--tasks-per-node=2(x2),1", "id", ID]

    assert options.parse_setup(words).nodes == [("n1", 2), ("n2", 2), ("m1", 1)]


def test_without_numbers_each_node_has_one_task():
    chosen = options.parse_setup(["-u", "a", "--nodelist", "n[1-2]", "id", ID])

    assert chosen.nodes == [("n1", 1), ("n2", 1)]


def test_a_word_of_the_alps_like_form_may_be_a_list():
    assert hosts.parse("n[1-2]/3 m1,m2/1") == [("n1", 3), ("n2", 3), ("m1", 1), ("m2", 1)]


@pytest.mark.parametrize(
    ("words", "problem"),
    [
        (["--nodelist=n[1-2]", "--tasks-per-node=1"], "for 1 nodes, --nodelist names 2"),
        (["--tasks-per-node=1"], "needs --nodelist"),
        (["--nodelist=n1", "-N", "n1/1"], "give one of them"),
        (["--nodelist=n1", "--tasks-per-node=4194305"], "more than 4194304 tasks"),
        (["-N", f"{'x' * 100}/1000000"], "larger than 67108864 bytes"),
    ],
)
def test_lists_that_do_not_fit_are_refused(words, problem):
    with pytest.raises(UsageError, match=problem):
        options.parse_setup(["-u", "a", *words, "id", ID])


def test_ten_thousand_nodes_of_128_tasks_cost_a_fraction_of_a_second():
    began = time.process_time()

    nodes = hosts.pair("nid[000001-010000]", "128(x10000)")
    content = hosts.hostsfile(nodes)

    assert time.process_time() - began < 1  # 0.16 s on an idle machine
    assert content.count(b"\n") == 1_280_000
    assert content.startswith(b"nid000001\n" * 128 + b"nid000002\n")
