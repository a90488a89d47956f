# SPDX-License-Identifier: BSD-3-Clause
"""A fault of Shifter's own is told in one sentence, and where it is to those who ask."""

from __future__ import annotations

from shifter_common import defects


def caught() -> Exception:
    try:
        try:
            int("many")
        except ValueError as error:
            raise KeyError("count") from error
    except KeyError as error:
        return error


def test_it_is_one_sentence_that_says_how_to_learn_more():
    (line,) = defects.lines(caught(), {})

    assert line == (
        "a defect of Shifter ended this (KeyError: 'count'): report it, with what "
        "SHIFTER_DEBUG=1 adds"
    )


def test_an_error_without_words_is_named_by_its_kind():
    (line,) = defects.lines(AssertionError(), {})

    assert "(AssertionError)" in line


def test_who_asks_is_told_each_place_and_what_came_before():
    first, *places = defects.lines(caught(), {"SHIFTER_DEBUG": "1"})

    assert first.endswith("report it, with these lines")
    assert all(line.startswith("  ") for line in places)
    assert [line.rpartition(" in ")[2] for line in places[::2]] == ["caught", "caught"]
    assert "test_defects.py:" in places[0]
    assert "ValueError: invalid literal" in places[1]


def test_an_error_of_many_lines_is_told_in_one():
    (line,) = defects.lines(RuntimeError("one\n  two"), {})

    assert "RuntimeError: one two" in line


def test_however_deep_it_was_few_places_are_told():
    def dig() -> None:
        dig()

    try:
        dig()
    except RecursionError as error:
        assert len(defects.lines(error, {"SHIFTER_DEBUG": "1"})) < 100
