# SPDX-License-Identifier: BSD-3-Clause
"""What a launch tells of itself."""

from __future__ import annotations

import json

import pytest

from shifter_runtime import report
from shifter_runtime import request as requests

STEPS = [("read udiRoot.conf", 1_000_000), ('look up "it"', 3_500_000)]


class Operation:
    def __init__(self, text: str) -> None:
        self.text = text
        self.udis: list[object] = []

    def __str__(self) -> str:
        return self.text

    def execute(self, *udi: object) -> str:
        self.udis += udi
        return f"{self.text} done"


class Plan:
    def __init__(self) -> None:
        self.image, self.root = Operation("mount image"), Operation("mount root")
        self.operations = [Operation("bind /a"), Operation("write /b")]

    def __str__(self) -> str:
        return "\n".join(map(str, (self.image, self.root, *self.operations)))


def dry_run(*words: str, caller=None, variables=None, command=("true",)):
    request = requests.parse(["--image=docker:x:1", "--dry-run", *words], caller or {})
    return report.dry_run(Plan(), request, "a" * 64, list(command), "/w", variables or {})


def test_times_are_those_of_each_step_and_the_total_comes_last():
    lines = report.timing(STEPS, as_json=False).splitlines()

    assert lines == [
        "shifter:     1.000 ms  read udiRoot.conf",
        'shifter:     2.500 ms  look up "it"',
        "shifter:     3.500 ms  total",
    ]


def test_times_as_json_are_one_object():
    assert json.loads(report.timing(STEPS, as_json=True)) == {
        "steps": [
            {"step": "read udiRoot.conf", "ms": 1.0},
            {"step": 'look up "it"', "ms": 2.5},
        ],
        "total_ms": 3.5,
    }


def test_every_operation_of_a_watched_plan_is_a_step():
    plan, steps = Plan(), []
    first = plan.operations[0]

    report.watch(plan, steps.append)
    results = [plan.image.execute(), plan.root.execute()]
    results += [operation.execute("udi") for operation in plan.operations]

    assert steps == [
        *("take a mount namespace", "mount image", "mount root", "bind /a", "write /b"),
    ]
    assert results == [f"{step} done" for step in steps[1:]]
    assert first.udis == ["udi"]
    assert str(plan) == str(Plan())  # what an error calls an operation stays the same


def test_a_dry_run_shows_operations_variables_directory_and_program():
    text = dry_run(
        "--env-file=/f",
        caller={"KEPT": "1", "GONE": "1", "CHANGED": "1"},
        variables={"KEPT": "1", "CHANGED": "a\nb"},
        command=["sh", "-c", "x y"],
    )

    assert text.splitlines() == [
        *("mount image", "mount root", "bind /a", "write /b"),
        r"set CHANGED='a\nb'",
        "unset GONE",
        "set what is in '/f'",
        "go to /w",
        "run 'sh' '-c' 'x y'",
    ]


def test_a_dry_run_without_a_program_names_the_shell():
    assert "run your shell ($SHELL if" in dry_run(command=[])


def test_a_dry_run_as_json_is_one_object():
    caller = {"GONE": "1"}
    text = dry_run("--json", "--env-file=/f", caller=caller, variables={"A": '"\udcff'})

    assert text.count("\n") == 1
    assert json.loads(text) == {
        "image": {"id": "a" * 64, "reference": "docker:x:1"},
        "operations": [
            {"operation": "Operation", "text": text}
            for text in ("mount image", "mount root", "bind /a", "write /b")
        ],
        "environment": {"set": {"A": '"\udcff'}, "unset": ["GONE"], "files": ["/f"]},
        "workdir": "/w",
        "userhooks": [],
        "command": ["true"],
    }


@pytest.mark.parametrize("value", ["", 'a"\\\n', [], {}, [1, 2.5, {"a": ["b"]}], {"": 0}])
def test_json_is_what_python_reads_back(value):
    assert json.loads(report.to_json(value)) == value
