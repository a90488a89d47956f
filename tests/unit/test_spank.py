# SPDX-License-Identifier: BSD-3-Clause
"""The plugin's sources and what the site is told of them are one thing."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SOURCES = sorted((ROOT / "slurm_spank").glob("*.[ch]"))
CONFIG = (ROOT / "slurm_spank/config.c").read_text()
EXAMPLE = (ROOT / "etc/slurm/plugstack.conf.example").read_text()

LONGEST_SOURCE = 400  # lines

# What runs a shell, or ends or changes the process that loaded the plugin; `_exit` is for children.
FORBIDDEN = (
    r"(?<![\w.>])(system|popen|exit|abort|err|errx|assert|strcpy|strcat|sprintf|execvp|execlp)\("
)

KNOWN = set(re.findall(r'(?m)^\t\{"(\w+)", (?:TEXT|SWITCH|SECONDS), ', CONFIG))


def test_the_arguments_are_those_of_the_original_and_three():
    of_the_original = {
        *("shifter_config", "extern_setup", "extern_cgroup", "memory_cgroup", "enable_ccm"),
        *("enable_sshd", "long_options"),
    }

    assert KNOWN - of_the_original == {"enable_pyxis_names", "pull_at_submit", "setup_timeout"}
    assert of_the_original <= KNOWN


def test_the_example_explains_each_argument_and_no_other():
    explained = set(re.findall(r"(?m)^# (\w+)(?:=\S+)?\n#     ", EXAMPLE))

    assert explained == KNOWN


def test_the_example_names_the_default_of_the_time_limit():
    default = re.findall(r"#define DEFAULT_SETUP_TIMEOUT (\d+)", CONFIG)[0]

    assert f"# setup_timeout={default}\n" in EXAMPLE


def test_the_lines_of_the_example_have_arguments_that_exist():
    lines = re.findall(r"(?m)^(?:# )?required \S+/shifter_slurm\.so *(.*)$", EXAMPLE)

    assert len(lines) == 2
    assert {word.partition("=")[0] for line in lines for word in line.split()} <= KNOWN


def test_every_source_is_built():
    built = re.findall(r"(?m)^SOURCES = (.*)$", (ROOT / "slurm_spank/Makefile").read_text())[0]

    assert built.split() == [path.name for path in SOURCES if path.suffix == ".c"]


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: path.name)
def test_a_source_says_what_it_is_and_is_no_longer_than_one_can_read(path):
    text = path.read_text()

    assert text.startswith("/* SPDX-License-Identifier: BSD-3-Clause\n *\n * ")
    assert text.count("\n") <= LONGEST_SOURCE


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: path.name)
def test_a_source_ends_no_process_and_runs_no_shell(path):
    assert re.findall(FORBIDDEN, path.read_text()) == []
