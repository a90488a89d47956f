# SPDX-License-Identifier: BSD-3-Clause
"""How shifter-gateway ends: in a sentence, with a status that docs/exit-codes.md has."""

from __future__ import annotations

import subprocess
import sys

import click
import pytest

from shifter_common.errors import ShifterError
from shifter_imagegw.command import GatewayGroup, main

START = "import sys; sys.path[:] = {path!r}; from shifter_imagegw.command import main; main()"


def run(redirection: str, *words: str) -> subprocess.CompletedProcess[str]:
    code = START.format(path=sys.path)
    return subprocess.run(
        ["sh", "-c", f'exec "$@" {redirection}', "sh", sys.executable, "-I", "-c", code, *words],
        capture_output=True, text=True, check=False, timeout=60, env={"PATH": "/usr/bin:/bin"},
    )  # fmt: skip


@pytest.mark.parametrize(
    "redirection", [">/dev/full", "2>/dev/full", ">/dev/full 2>&1", ">&- 2>&-"]
)
@pytest.mark.parametrize("words", [("key",), ("--help",), ("status",)], ids=" ".join)
def test_closed_or_full_streams_bring_no_words_of_the_interpreters(words, redirection):
    done = run(redirection, *words)

    assert done.returncode in (0, 1, 2)
    assert "Traceback" not in done.stderr and "Exception ignored" not in done.stderr


def test_a_key_that_could_not_be_printed_is_a_failure():
    done = run(">/dev/full", "key")

    assert done.returncode == 1
    assert done.stderr == "shifter-gateway: cannot write the output: No space left on device\n"


@pytest.mark.parametrize(
    ("error", "status"),
    [(ShifterError("no"), 1), (click.UsageError("odd"), 2), (RuntimeError("odd"), 70)],
    ids=repr,
)
def test_each_end_has_a_status_of_its_own(error, status, capsys):
    @click.group(cls=GatewayGroup)
    def gateway() -> None: ...

    @gateway.command()
    def end() -> None:
        raise error

    with pytest.raises(SystemExit) as ended:
        gateway.main(["end"])

    assert ended.value.code == status
    assert capsys.readouterr().err.startswith("shifter-gateway: ")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["frob"], "no such command 'frob' (shifter-gateway --help shows how)"),
        (["gc", "--frob"], "no such option '--frob' (shifter-gateway gc --help shows how)"),
        (["queue", "--system"], "option '--system' requires an argument "),
    ],
    ids=" ".join,
)
def test_misuse_is_told_in_a_sentence_that_says_where_help_is(words, said, capsys):
    with pytest.raises(SystemExit) as ended:
        main(words, prog_name="shifter-gateway")

    shown = capsys.readouterr()
    assert (ended.value.code, shown.out) == (2, "")
    assert shown.err.startswith(f"shifter-gateway: {said}")
    assert shown.err.count("\n") == 1


@pytest.mark.parametrize("words", [(), ("config",)], ids=" ".join)
def test_without_a_command_the_help_is_shown(words, capsys):
    with pytest.raises(SystemExit) as ended:
        main(words, prog_name="shifter-gateway")

    assert ended.value.code == 2
    assert "Usage: shifter-gateway" in capsys.readouterr().err


def test_a_shell_is_told_what_can_be_typed(monkeypatch, capsys):
    """As the file asks that tools/completions.py writes."""
    monkeypatch.setenv("_SHIFTER_GATEWAY_COMPLETE", "bash_complete")
    monkeypatch.setenv("COMP_WORDS", "shifter-gateway config ch")
    monkeypatch.setenv("COMP_CWORD", "2")

    with pytest.raises(SystemExit) as ended:
        main(prog_name="shifter-gateway")

    assert (ended.value.code, capsys.readouterr().out) == (0, "plain,check\n")
