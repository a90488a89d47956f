# SPDX-License-Identifier: BSD-3-Clause
"""How programs of root's end: a sentence on standard error, and a status for batch systems."""

from __future__ import annotations

import os

import pytest

from shifter_runtime import main as launch
from shifter_runtime import process
from shifter_runtime.errors import SetupError, UsageError
from shifter_runtime.job import caller
from shifter_runtime.job.batch import epilogue, prologue
from shifter_runtime.job.preparing import AlreadyPreparedError


@pytest.fixture(autouse=True)
def end(monkeypatch):
    """An end that can be looked at."""

    def exit_(status: int) -> None:
        raise SystemExit(status)

    monkeypatch.setattr(os, "_exit", exit_)


ENDS = [
    (None, 0, ""),
    (SetupError("cannot do it"), 1, "prog: cannot do it\n"),
    (UsageError("odd words"), 2, "prog: odd words; prog --help says more\n"),
    (AlreadyPreparedError("it is there"), 3, "prog: it is there\n"),
    (PermissionError(13, "Permission denied", "/run/x"), 1,
     "prog: cannot use /run/x: Permission denied\n"),
    (KeyboardInterrupt(), 130, ""),
]  # fmt: skip


@pytest.mark.parametrize(("error", "status", "told"), ENDS, ids=repr)
def test_each_end_has_a_status_of_its_own(error, status, told, capfd):
    def run() -> None:
        if error is not None:
            raise error

    with pytest.raises(SystemExit) as ended:
        caller.end("prog", run, {AlreadyPreparedError: 3})

    assert ended.value.code == status
    assert capfd.readouterr().err == told


def test_a_defect_is_one_sentence_and_status_70(capfd):
    def run() -> None:
        raise ZeroDivisionError("division by zero")

    with pytest.raises(SystemExit) as ended:
        caller.end("prog", run, {})

    assert ended.value.code == 70
    assert capfd.readouterr().err.startswith("prog: a defect of Shifter ended this (ZeroDiv")


@pytest.mark.parametrize("program", [prologue, epilogue])
@pytest.mark.parametrize(("words", "status"), [((), 0), (("--fail-status=7",), 7)])
@pytest.mark.parametrize("error", [SetupError("no"), RuntimeError("odd")], ids=repr)
def test_batch_systems_see_what_the_site_wants_them_to(
    program, words, status, error, monkeypatch, capfd
):
    def run(*_: object) -> None:
        raise error

    monkeypatch.setattr(program, "run", run)

    with pytest.raises(SystemExit) as ended:
        program.main("/etc/shifter/udiRoot.conf", ["--job=1", *words])

    assert ended.value.code == status
    assert "Traceback" not in capfd.readouterr().err


@pytest.mark.parametrize("debug", [False, True])
def test_a_defect_of_a_launch_is_told_without_a_trace_unless_that_is_asked_for(
    debug, monkeypatch, capfd, tmp_path
):
    def run(*_: object) -> int:
        raise AttributeError("'NoneType' object has no attribute 'x'")

    monkeypatch.setattr(launch, "run", run)
    monkeypatch.setattr(process, "let_interrupts_through", lambda **_: None)
    (tmp_path / "environment").write_bytes(b"SHIFTER_DEBUG=1\0" if debug else b"A=b\0")
    fd = os.open(tmp_path / "environment", os.O_RDONLY)

    with pytest.raises(SystemExit) as ended:
        launch.main(["/etc/shifter/udiRoot.conf", str(fd), "", "", "true"])

    first, *places = capfd.readouterr().err.splitlines()
    assert ended.value.code == 70
    assert first.startswith("shifter: a defect of Shifter ended this (AttributeError: 'NoneType'")
    assert bool(places) == debug
