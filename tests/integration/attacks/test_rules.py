# SPDX-License-Identifier: BSD-3-Clause
"""Every rule has a test, and what the tables name is there."""

from __future__ import annotations

import ast
from functools import cache
from pathlib import Path

import pytest

from tests.integration.attacks.rules import ELSEWHERE, RULES

TESTS = Path(__file__).parents[2]
HERE = sorted(Path(__file__).parent.glob("test_*.py"))


@cache
def functions_of(path: Path) -> dict[str, ast.FunctionDef]:
    tree = ast.parse(path.read_text())
    return {node.name: node for node in tree.body if isinstance(node, ast.FunctionDef)}


def marked(node: ast.AST) -> set[int]:
    """The numbers of every `pytest.mark.attack(…)` in a decorator or in `pytestmark`."""
    return {
        argument.value
        for call in ast.walk(node)
        if isinstance(call, ast.Call) and ast.unparse(call.func) == "pytest.mark.attack"
        for argument in call.args
        if isinstance(argument, ast.Constant)
    }


def rules_here(path: Path) -> set[int]:
    tests = [node for name, node in functions_of(path).items() if name.startswith("test_")]
    found = set().union(*(marked(decorator) for test in tests for decorator in test.decorator_list))
    for node in ast.parse(path.read_text()).body:
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "pytestmark" and tests:
            found |= marked(node)
    return found


def test_every_rule_has_a_test():
    held = set().union(*map(rules_here, HERE))
    for tests in ELSEWHERE.values():
        held.update(*tests.values())

    assert held == set(RULES)


@pytest.mark.parametrize("file", ELSEWHERE)
def test_tests_of_other_folders_that_hold_a_rule_are_there(file):
    assert ELSEWHERE[file].keys() <= functions_of(TESTS / file).keys()


@pytest.mark.parametrize(
    "path", [path for path in HERE if path != Path(__file__)], ids=lambda p: p.name
)
def test_every_test_of_this_folder_holds_a_rule(path):
    tree = ast.parse(path.read_text())
    of_module = any(marked(node) for node in tree.body if isinstance(node, ast.Assign))
    without = [
        name
        for name, node in functions_of(path).items()
        if name.startswith("test_") and not any(map(marked, node.decorator_list))
    ]

    assert of_module or not without
