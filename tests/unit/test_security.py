# SPDX-License-Identifier: BSD-3-Clause
"""SECURITY.md names what runs as root, all of it, and does not flatter its size."""

from __future__ import annotations

import re
from pathlib import Path

from tools import root_files

TEXT = (Path(__file__).parents[2] / "SECURITY.md").read_text()
ROWS = re.findall(r"(?m)^\| `([^`]+\.(?:py|c))` \| (\d+) \| ([^|]+) \|$", TEXT)
HINT = "run: python3 tools/root_files.py"


def test_every_file_that_runs_as_root_is_named_and_when():
    written = {name: when for name, _, when in ROWS}

    assert written == {name: when for name, (_, when) in root_files.files().items()}, HINT


def test_the_counts_of_lines_are_true_to_a_tenth():
    real = root_files.files()

    wrong = [
        (name, lines, real[name][0])
        for name, lines, _ in ROWS
        if name in real and abs(int(lines) - real[name][0]) > max(10, real[name][0] / 10)
    ]

    assert not wrong, HINT


def test_the_sum_is_that_of_the_table():
    (total,) = re.findall(r"(?m)^(\d+) lines: ", TEXT)

    assert int(total) == sum(int(lines) for _, lines, _ in ROWS)
