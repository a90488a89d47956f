# SPDX-License-Identifier: BSD-3-Clause
"""The modes as a whole: what help shows of them, and what starting one of them loads."""

from __future__ import annotations

import os
import subprocess
import sys

import click
import pytest

from shifter_cli.shifterimg import SECTIONS, shifterimg

MODES = [mode for modes in SECTIONS.values() for mode in modes]


def test_help_shows_each_mode_under_what_it_is_for_in_80_columns(run, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")

    lines = run("--help").stdout.splitlines()

    assert max(map(len, lines)) <= 80
    for title, modes in SECTIONS.items():
        after = lines[lines.index(f"{title}:") + 1 :]
        section = after[: after.index("")]
        assert [line.split()[0] for line in section] == list(modes)
        assert all(line.endswith(".") and not line.endswith("...") for line in section)


@pytest.mark.parametrize("mode", MODES)
def test_help_of_each_mode_fits_80_columns(mode, run, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")

    result = run(mode, "--help")

    assert (result.code, result.stderr) == (0, "")
    assert max(map(len, result.stdout.splitlines())) <= 80


@pytest.mark.parametrize("mode", MODES)
def test_each_mode_is_the_command_of_its_name(mode):
    command = shifterimg.get_command(click.Context(shifterimg), mode)

    assert command is not None
    assert command.name == mode


def test_lookup_loads_no_other_mode():
    code = (
        "import sys\n"
        "from shifter_cli.shifterimg import main\n"
        "try:\n    main('/no/such.conf', ['lookup', 'x:1'])\n"
        "except SystemExit:\n    print(*(n for n in sys.modules if '.modes.' in n))\n"
    )

    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True,
        env={"PYTHONPATH": os.pathsep.join(sys.path)},
    )  # fmt: skip

    assert set(result.stdout.split()) == {f"shifter_cli.modes.{m}" for m in ("looking", "options")}
