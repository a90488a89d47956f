# SPDX-License-Identifier: BSD-3-Clause
"""How shifter-gateway ends: in a sentence, with a status that docs/exit-codes.md has."""

from __future__ import annotations

import subprocess
import sys

import click
import pytest

from shifter_common.errors import ShifterError
from shifter_imagegw.command import GatewayGroup

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
    assert done.stderr == "Error: cannot write the output: No space left on device\n"


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
    assert "Error: " in capsys.readouterr().err
