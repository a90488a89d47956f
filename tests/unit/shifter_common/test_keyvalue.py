# SPDX-License-Identifier: BSD-3-Clause
from __future__ import annotations

import pytest

from shifter_common import keyvalue


@pytest.mark.parametrize(
    ("text", "pairs"),
    [
        ("a=1\nb = 2 \n", [("a", "1"), ("b", "2")]),
        ("a=1", [("a", "1")]),
        ("", []),
        ("a=b=c\n", [("a", "b=c")]),
        ("a=\n", [("a", "")]),
        ("=x\n", [("", "x")]),
        ("# a=1\n#\nb=2\n", [("b", "2")]),
        ("  # a=1\n", [("# a", "1")]),  # only column 1 starts a comment
        ("no delimiter\n\nb=2\n", [("b", "2")]),
        ("a=1\r\nb=2\r\n", [("a", "1"), ("b", "2")]),
        ("a=1\na=2\n", [("a", "1"), ("a", "2")]),
        ("a=x\x0by\x85z\u2028\n", [("a", "x\x0by\x85z\u2028")]),  # none of these ends a line
    ],
)
def test_lines_become_pairs_in_order(text, pairs):
    assert keyvalue.parse(text, "=") == pairs


@pytest.mark.parametrize(
    ("text", "pairs"),
    [
        ("a=1 \\\n   2\nb=3\n", [("a", "1 2"), ("b", "3")]),
        ("a=1\\\n2\\\n3\n", [("a", "1 2 3")]),
        ("a=\\\n1\n", [("a", "1")]),
        ("a=1\\\nb=2\n", [("a", "1 b=2")]),
        ("a=1\\\n# b\n2\n", [("a", "1 2")]),
        ("a=1\\\n\nb=2\n", [("a", "1"), ("b", "2")]),
        ("a=1\\", [("a", "1")]),
        ("a=1\\  \n2\n", [("a", "1 2")]),
        ("a=1\\\\\n2\n", [("a", "1\\ 2")]),
    ],
)
def test_a_backslash_joins_the_next_line_with_one_space(text, pairs):
    assert keyvalue.parse(text, "=") == pairs


def test_continuation_can_be_switched_off():
    entries = keyvalue.entries("a: 1\\\nb: 2\n", ":", continued=False)

    assert [(entry.key, entry.value) for entry in entries] == [("a", "1\\"), ("b", "2")]


def test_entries_know_their_first_line_and_lines_without_delimiter():
    entries = keyvalue.entries("# c\na=1\\\n2\noops\nb=2\n", "=")

    assert [(entry.line, entry.key, entry.value) for entry in entries] == [
        (2, "a", "1 2"),
        (4, "oops", None),
        (5, "b", "2"),
    ]
