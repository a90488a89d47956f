# SPDX-License-Identifier: BSD-3-Clause
"""What batch systems tell, and where."""

from __future__ import annotations

import pytest

from shifter_runtime.errors import UsageError
from shifter_runtime.job.batch import options, schedulers

FOLDED = """\
Job Id: 7.server
    Job_Name = a = b
    exec_host = n1/0+n1/1
    Variable_List = PBS_O_HOME=/home/alice,SHIFTER=docker:ubuntu:24.0
\t4,PBS_O_PATH=/usr/bin
    comment = Job started on
\tFri

"""


def parsed(*words):
    chosen = options.Options()
    options.parse(list(words), chosen)
    return chosen


def test_folded_lines_are_one_value():
    found = schedulers.attributes(FOLDED)

    assert found["Job_Name"] == "a = b"
    assert found["Variable_List"].endswith("SHIFTER=docker:ubuntu:24.04,PBS_O_PATH=/usr/bin")


def test_what_looks_like_another_attribute_takes_no_ones_place():
    found = schedulers.attributes("    exec_host = n1/0\n    exec_host = n9/0\n")

    assert found == {"exec_host": "n1/0"}


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("", {}),
        ("A=1,B=x=y", {"A": "1", "B": "x=y"}),
        ("A=1\\,2,B=", {"A": "1,2", "B": ""}),
        ("A=1,2,3", {"A": "1,2,3"}),
        ('A=\\"x\\",B=a\\\\b', {"A": '"x"', "B": "a\\b"}),
        ("lost,A=1", {"A": "1"}),
    ],
)
def test_commas_separate_variables_or_are_in_them(text, found):
    assert schedulers.variables(text) == found


@pytest.mark.parametrize(
    ("words", "environment", "job"),
    [
        (["--job=12"], {"LSB_JOBID": "13"}, "12"),
        (["--job=12", "--task=3"], {}, "12.3"),
        (["--job=12", "--task=0"], {}, "12"),
        (["--job=12", "--task=undefined"], {}, "12"),
        (["--scheduler=lsf"], {"LSB_JOBID": "13", "LSB_JOBINDEX": "2"}, "13.2"),
        (["--scheduler=torque", "--", "7.server", "alice"], {}, "7.server"),
    ],
)
def test_a_job_has_a_name(words, environment, job):
    assert schedulers.job_of(parsed(*words), environment) == job


@pytest.mark.parametrize("words", [[], ["--scheduler=lsf"], ["--scheduler=torque", "--"]])
def test_a_job_without_a_name_is_refused(words):
    with pytest.raises(UsageError, match="a job is needed"):
        schedulers.job_of(parsed(*words), {})


def test_the_environment_counts_only_where_the_batch_system_fills_it():
    for words, counts in [((), False), (("--environment",), True), (("--scheduler=lsf",), True)]:
        chosen = parsed("--user=alice", *words)
        schedulers.complete(chosen, {"SHIFTER": "docker:x:1", "HOME": "/"})
        assert chosen.variables == ({"SHIFTER": "docker:x:1"} if counts else {})


def test_no_batch_system_but_lsf_takes_users_from_the_environment():
    for words in (["--environment"], ["--scheduler=gridengine"]):
        with pytest.raises(UsageError, match="a user is needed"):
            schedulers.complete(parsed(*words), {"USER": "bob", "LSFUSER": "bob"})
