# SPDX-License-Identifier: BSD-3-Clause
"""How shifterimg and shifter-admin end, whatever happens in them and wherever their output goes."""

from __future__ import annotations

import subprocess
import sys

import click
import pytest

from shifter_cli import program
from shifter_common.errors import ShifterError

# A program with a mode for each end; run as one, so that nothing of the tests stands in between.
PROGRAM = """
import sys
sys.path[:] = {path!r}
import click
from shifter_cli import program
from shifter_common.errors import ShifterError

@click.group()
def group(): ...

@group.command()
def talk():
    click.echo("much to say")

@group.command()
def refuse():
    raise ShifterError("cannot do it")

@group.command()
def fail():
    [][1]

program.run(group, "prog", None, sys.argv[1:])
"""
CLOSED_OR_FULL = [">&-", "2>&-", "<&-", ">&- 2>&- <&-", ">/dev/full", "2>/dev/full"]
CLOSED_OR_FULL += [">/dev/full 2>&1"]


def run(mode: str, redirection: str = "", **environment: str) -> subprocess.CompletedProcess[str]:
    code = PROGRAM.format(path=sys.path)
    words = ["sh", "-c", f'exec "$@" {redirection}', "sh", sys.executable, "-I", "-c", code, mode]
    return subprocess.run(
        words, capture_output=True, text=True, check=False, timeout=60,
        env={"PATH": "/usr/bin:/bin"} | environment,
    )  # fmt: skip


@pytest.mark.parametrize("redirection", CLOSED_OR_FULL)
@pytest.mark.parametrize("mode", ["talk", "refuse", "fail", "--help", "nonsense"])
def test_closed_or_full_streams_bring_no_traceback_and_no_status_of_the_interpreters(
    mode, redirection
):
    done = run(mode, redirection)

    assert done.returncode in (0, 1, 70)
    assert not any(
        word in done.stdout + done.stderr for word in ("Traceback", "Exception ignored", "Errno")
    )


def test_output_that_could_not_be_written_is_a_failure_in_words():
    done = run("talk", ">/dev/full")

    assert done.returncode == 1
    assert done.stderr == "prog: cannot write the output: No space left on device\n"


def test_a_defect_is_one_sentence_and_status_70():
    done = run("fail")

    assert done.returncode == 70
    assert done.stderr == (
        "prog: a defect of Shifter ended this (IndexError: list index out of range): report it, "
        "with what SHIFTER_DEBUG=1 adds\n"
    )


def test_who_looks_for_a_defect_is_told_where_it_is():
    done = run("fail", SHIFTER_DEBUG="1")

    assert done.returncode == 70
    assert done.stderr.splitlines()[-1].startswith("prog:   <string>:")


@pytest.mark.parametrize("environment", [{"LC_ALL": "xx_YY.none"}, {"LANG": "C"}, {"TERM": ""}])
def test_an_odd_locale_or_terminal_changes_nothing(environment):
    done = run("talk", **environment)

    assert (done.returncode, done.stdout, done.stderr) == (0, "much to say\n", "")


@click.group()
def group() -> None: ...


@pytest.mark.parametrize(
    ("error", "status"),
    [(ShifterError("no"), 1), (KeyboardInterrupt(), 130), (click.Abort(), 130), (KeyError(), 70)],
    ids=repr,
)
def test_each_end_has_a_status_of_its_own(error, status, capsys):
    @group.command("end")
    def end() -> None:
        raise error

    with pytest.raises(SystemExit) as ended:
        program.run(group, "prog", None, ["end"])

    assert ended.value.code == status
