# SPDX-License-Identifier: BSD-3-Clause
"""What a log and what a program sees of a pull."""

from __future__ import annotations

import json

import pytest

from shifter_cli.gateway.records import ImageRecord
from shifter_cli.progress import forms
from shifter_cli.progress.terminal import TerminalProgress
from shifter_common.reference import ImageReference

IMAGE = ImageReference("docker", "lib/x:1")


def record(state="PULLING", message="MISSING", done=None, total=None):
    return ImageRecord.from_wire(
        {"status": state, "status_message": message, "bytes_done": done, "bytes_total": total}
    )


@pytest.mark.parametrize("verbose", [True, False])
def test_error_message_starts_on_a_line_of_its_own(verbose, clock, capsys):
    display = forms.LineProgress(verbose=verbose, clock=clock)

    display.show(IMAGE, record("PULLING"))
    display.give_up(IMAGE)

    assert capsys.readouterr().out.endswith("PULLING\n")


def test_image_that_was_never_shown_leaves_no_empty_line(clock, capsys):
    for display in (forms.LineProgress(verbose=False), TerminalProgress()):
        display.give_up(IMAGE)
        display.interrupted()

    assert capsys.readouterr().out == ""


def test_log_gets_a_line_only_when_something_changed(clock, capsys):
    display = forms.LineProgress(verbose=True, clock=clock)

    for state in ("PENDING", "PULLING", "PULLING", "PULLING", "TRANSFER"):
        display.show(IMAGE, record(state))
        clock.now += 0.5

    states = [line.split()[5] for line in capsys.readouterr().out.splitlines()]
    assert states == ["PENDING", "PULLING", "TRANSFER"]


def test_log_shows_now_and_then_that_the_pull_is_alive(clock, capsys):
    display = forms.LineProgress(verbose=True, clock=clock)

    for _ in range(40):
        display.show(IMAGE, record("PULLING"))
        clock.now += 0.5

    assert len(capsys.readouterr().out.splitlines()) == 4


def test_final_line_is_written_even_if_nothing_changed(clock, capsys):
    display = forms.LineProgress(verbose=False, clock=clock)

    display.show(IMAGE, record("FAILURE"))

    assert capsys.readouterr().out.endswith("status: FAILURE\n")


def test_json_is_written_for_settled_pulls_only(capsys):
    display = forms.JsonProgress()

    for state in ("PULLING", "READY"):
        display.show(IMAGE, record(state))

    assert json.loads(capsys.readouterr().out)["status"] == "READY"


def test_quiet_progress_says_nothing(capsys):
    display = forms.QuietProgress()

    for state in ("PULLING", "READY", "FAILURE"):
        display.show(IMAGE, record(state))
    display.give_up(IMAGE)
    display.interrupted()

    assert capsys.readouterr().out == ""


@pytest.mark.parametrize(
    ("options", "kind"),
    [
        ({}, "TerminalProgress"),
        ({"terminal": False}, "LineProgress"),
        ({"dumb": True}, "LineProgress"),
        ({"verbose": True}, "LineProgress"),
        ({"verbose": True, "as_json": True}, "JsonProgress"),
        ({"quiet": True}, "QuietProgress"),
        ({"quiet": True, "as_json": True, "terminal": False}, "QuietProgress"),
    ],
)
def test_form_suits_who_reads(options, kind, monkeypatch):
    monkeypatch.setattr("sys.stdout.isatty", lambda: options.pop("terminal", True))
    monkeypatch.setenv("TERM", "dumb" if options.pop("dumb", False) else "xterm")
    chosen = {name: options.get(name, False) for name in ("verbose", "as_json", "quiet")}

    assert type(forms.choose(**chosen)).__name__ == kind
