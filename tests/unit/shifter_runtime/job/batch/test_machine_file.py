# SPDX-License-Identifier: BSD-3-Clause
"""Nodes as batch systems write them."""

from __future__ import annotations

import pytest

from shifter_runtime.errors import UsageError
from shifter_runtime.job.batch import machine_file


@pytest.mark.parametrize(
    ("lines", "spec"),
    [
        ("", ""),
        ("n1\nn1\nn2\n", "n1/2 n2/1"),  # PBS, LSF
        ("n1\nn2\nn1\n", "n1/1 n2/1 n1/1"),  # in the order of the tasks
        ("n1.example 4 all.q@n1.example UNDEFINED\nn2 2 q <NULL>\n", "n1.example/4 n2/2"),
        ("n1:4\nn2:2\n", "n1/4 n2/2"),  # MPICH
        ("# made by hand\nn1 slots=4 # the first\n\nn2\n", "n1/4 n2/1"),  # Open MPI
    ],
)
def test_a_machine_file_is_a_list_of_nodes(lines, spec):
    assert machine_file.of_lines(lines) == spec


@pytest.mark.parametrize(
    ("text", "spec"),
    [
        ("", ""),
        ("n1/0+n1/1+n2/0", "n1/2 n2/1"),  # Torque before 4
        ("n1/0-3,6+n2/0", "n1/5 n2/1"),  # Torque since
        ("n1/0*4+n2/0*2", "n1/4 n2/2"),  # OpenPBS
        ("n1[0]/0", "n1[0]/1"),
    ],
)
def test_exec_host_is_a_list_of_slots(text, spec):
    assert machine_file.of_slots(text) == spec


def test_lsf_lists_hosts_and_numbers():
    assert machine_file.of_pairs("n1 4 n2 2") == "n1/4 n2/2"


@pytest.mark.parametrize("text", ["n1", "n1 x", "n1 -1", "n1 99999999", "n1 १"])
def test_what_is_no_number_of_tasks_is_refused(text):
    with pytest.raises(UsageError):
        machine_file.of_pairs(text)


@pytest.mark.parametrize("text", ["n1/0*x", "n1/0-x", "n1/0*99999999", "n1/0*"])
def test_what_is_no_slot_is_refused(text):
    with pytest.raises(UsageError):
        machine_file.of_slots(text)


def test_what_would_count_backwards_is_one_task():
    assert machine_file.of_slots("n1/5-2") == "n1/1"
