# SPDX-License-Identifier: BSD-3-Clause
"""Every wish of `tests/wishes.py` is held by a test, or answered in docs/faq.md."""

from __future__ import annotations

import ast
import re
from functools import cache
from pathlib import Path

import pytest

from tests.wishes import HELD, TOLD, WISHES

TESTS = Path(__file__).parents[1]
FAQ = (TESTS.parent / "docs/faq.md").read_text()


@cache
def functions_of(path: Path) -> dict[str, ast.FunctionDef]:
    tree = ast.parse(path.read_text())
    return {
        node.name: node
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef) and node.name.startswith("test_")
    }


def marked() -> set[int]:
    """The numbers of every `pytest.mark.wish(…)`."""
    return {
        argument.value
        for path in TESTS.rglob("test_*.py")
        if "mark.wish(" in path.read_text()
        for test in functions_of(path).values()
        for decorator in test.decorator_list
        if isinstance(decorator, ast.Call) and ast.unparse(decorator.func) == "pytest.mark.wish"
        for argument in decorator.args
        if isinstance(argument, ast.Constant)
    }


def answers() -> dict[str, str]:
    """Each heading of the page, and what stands below it."""
    parts = re.split(r"^### ", FAQ, flags=re.MULTILINE)[1:]
    return {part.partition("\n")[0]: part.partition("\n")[2].strip() for part in parts}


def test_wishes_are_numbered_without_a_gap():
    assert list(WISHES) == list(range(1, 46))


def test_every_wish_is_held_or_answered():
    assert marked() | set(HELD) | set(TOLD) == set(WISHES)


@pytest.mark.parametrize(
    "name", sorted({name for names in HELD.values() for name in names}), ids=str
)
def test_a_test_that_holds_a_wish_is_there(name):
    file, _, test = name.partition("::")

    assert test in functions_of(TESTS / file)


@pytest.mark.parametrize("number", TOLD)
def test_an_answer_is_there_and_says_something(number):
    assert len(answers().get(TOLD[number], "")) > 80


def test_every_question_of_the_page_has_an_answer():
    assert [heading for heading, text in answers().items() if len(text) < 60] == []
