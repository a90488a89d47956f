# SPDX-License-Identifier: BSD-3-Clause
"""What a person and what a log sees of a pull."""

from __future__ import annotations

import json
import os
import re

import pytest

from shifter_cli import progress
from shifter_cli.records import ImageRecord
from shifter_common.reference import ImageReference

IMAGE = ImageReference("docker", "lib/x:1")


class Clock:
    def __init__(self):
        self.now = 1000.0

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def columns(monkeypatch):
    def set_columns(count):
        monkeypatch.setattr("shutil.get_terminal_size", lambda: os.terminal_size((count, 24)))

    set_columns(100)
    return set_columns


def record(state="PULLING", message="MISSING", done=None, total=None):
    return ImageRecord.from_wire(
        {"status": state, "status_message": message, "bytes_done": done, "bytes_total": total}
    )


def drawn(capsys):
    """The lines as they stood on the terminal, one after the other."""
    return re.split("\r\x1b\\[2K", capsys.readouterr().out)[1:]


def test_terminal_shows_bytes_share_rate_and_remaining_time(clock, columns, capsys):
    display = progress.TerminalProgress(clock=clock)

    display.show(IMAGE, record(done=0, total=700_000_000))
    clock.now += 2
    display.show(IMAGE, record(done=100_000_000, total=700_000_000))

    assert drawn(capsys)[-1] == (
        "docker:lib/x:1  PULLING     100.0 MB of 700.0 MB  14 %  50.0 MB/s  12 s left"
    )


def test_rate_is_that_of_the_last_seconds(clock, columns, capsys):
    display = progress.TerminalProgress(clock=clock)

    for done in [0, 0, 0, 0, *range(0, 12_000_000, 1_000_000)]:
        display.show(IMAGE, record(done=done, total=50_000_000))
        clock.now += 1

    assert "1.0 MB/s" in drawn(capsys)[-1]


def test_another_try_starts_another_measurement(clock, columns, capsys):
    display = progress.TerminalProgress(clock=clock)

    for done in (0, 9_000_000, 0, 1_000_000):
        display.show(IMAGE, record(done=done, total=10_000_000))
        clock.now += 1

    assert "1.0 MB/s  9 s left" in drawn(capsys)[-1]


def test_stalled_pull_promises_no_end(clock, columns, capsys):
    display = progress.TerminalProgress(clock=clock)

    for _ in range(3):
        display.show(IMAGE, record(done=5, total=10))
        clock.now += 1

    assert "left" not in drawn(capsys)[-1]


def test_unknown_total_shows_bytes_and_rate(clock, columns, capsys):
    display = progress.TerminalProgress(clock=clock)

    display.show(IMAGE, record(done=0))
    clock.now += 1
    display.show(IMAGE, record(done=2_500))

    assert drawn(capsys)[-1] == "docker:lib/x:1  PULLING     2.5 kB  2.5 kB/s"


def test_gateway_without_byte_counts_shows_its_message(clock, columns, capsys):
    progress.TerminalProgress(clock=clock).show(IMAGE, record("PULLING", "Extracting Layers"))

    assert drawn(capsys)[-1] == "docker:lib/x:1  PULLING     Extracting Layers"


def test_finished_transfer_shows_the_message_of_what_follows(clock, columns, capsys):
    display = progress.TerminalProgress(clock=clock)

    display.show(IMAGE, record("TRANSFER", "Transferring image", done=10, total=10))

    assert "Transferring image" in drawn(capsys)[-1]


@pytest.mark.parametrize("count", [5, 20, 40, 60, 80])
def test_line_never_wraps(count, clock, columns, capsys):
    columns(count)
    name = ImageReference("docker", "registry.example/" + "long/" * 20 + "name:tag")
    display = progress.TerminalProgress(clock=clock)

    display.show(name, record(done=1_000, total=2_000))

    assert len(drawn(capsys)[-1]) < count


def test_end_of_a_long_name_is_kept(clock, columns, capsys):
    name = ImageReference("docker", "registry.example/" + "long/" * 20 + "name:tag")

    progress.TerminalProgress(clock=clock).show(name, record("PULLING", "Extracting Layers"))

    assert "name:tag  PULLING" in drawn(capsys)[-1]


def test_terminal_keeps_the_line_of_the_original_at_the_end(clock, columns, capsys):
    progress.TerminalProgress(clock=clock).show(IMAGE, record("READY"))

    assert re.fullmatch(
        r"[-\d]{10}T[:\d]{8} Pulling Image: docker:lib/x:1, status: READY\n", drawn(capsys)[-1]
    )


def test_one_line_is_for_the_first_of_several_that_is_not_settled(clock, columns, capsys):
    other = ImageReference("docker", "other:1")
    display = progress.TerminalProgress(clock=clock)

    display.show(IMAGE, record("PULLING"))
    display.show(other, record("PENDING"))
    display.show(IMAGE, record("EXAMINATION"))
    display.show(IMAGE, record("READY"))
    display.show(other, record("CONVERSION"))

    lines = [line for line in drawn(capsys) if "status" not in line]
    assert lines == [
        "docker:lib/x:1  PULLING",
        "docker:lib/x:1  EXAMINATION  (and 1 more)",
        "docker:other:1  CONVERSION",
    ]


def test_image_that_met_an_error_leaves_the_line_to_the_next(clock, columns, capsys):
    other = ImageReference("docker", "other:1")
    display = progress.TerminalProgress(clock=clock)

    display.show(IMAGE, record("PULLING"))
    display.show(other, record("PENDING"))
    display.give_up(IMAGE)
    display.show(other, record("CONVERSION"))

    assert drawn(capsys) == ["docker:lib/x:1  PULLING\n", "docker:other:1  CONVERSION"]


@pytest.mark.parametrize("verbose", [True, False])
def test_error_message_starts_on_a_line_of_its_own(verbose, clock, capsys):
    display = progress.LineProgress(verbose=verbose, clock=clock)

    display.show(IMAGE, record("PULLING"))
    display.give_up(IMAGE)

    assert capsys.readouterr().out.endswith("PULLING\n")


def test_image_that_was_never_shown_leaves_no_empty_line(clock, capsys):
    for display in (progress.LineProgress(verbose=False), progress.TerminalProgress()):
        display.give_up(IMAGE)
        display.interrupted()

    assert capsys.readouterr().out == ""


def test_log_gets_a_line_only_when_something_changed(clock, capsys):
    display = progress.LineProgress(verbose=True, clock=clock)

    for state in ("PENDING", "PULLING", "PULLING", "PULLING", "TRANSFER"):
        display.show(IMAGE, record(state))
        clock.now += 0.5

    states = [line.split()[5] for line in capsys.readouterr().out.splitlines()]
    assert states == ["PENDING", "PULLING", "TRANSFER"]


def test_log_shows_now_and_then_that_the_pull_is_alive(clock, capsys):
    display = progress.LineProgress(verbose=True, clock=clock)

    for _ in range(40):
        display.show(IMAGE, record("PULLING"))
        clock.now += 0.5

    assert len(capsys.readouterr().out.splitlines()) == 4


def test_final_line_is_written_even_if_nothing_changed(clock, capsys):
    display = progress.LineProgress(verbose=False, clock=clock)

    display.show(IMAGE, record("FAILURE"))

    assert capsys.readouterr().out.endswith("status: FAILURE\n")


def test_json_is_written_for_settled_pulls_only(capsys):
    display = progress.JsonProgress()

    for state in ("PULLING", "READY"):
        display.show(IMAGE, record(state))

    assert json.loads(capsys.readouterr().out)["status"] == "READY"


@pytest.mark.parametrize(
    ("is_terminal", "verbose", "as_json", "kind"),
    [
        (True, False, False, progress.TerminalProgress),
        (True, True, False, progress.LineProgress),
        (False, False, False, progress.LineProgress),
        (True, True, True, progress.JsonProgress),
    ],
)
def test_form_suits_who_reads(is_terminal, verbose, as_json, kind, monkeypatch):
    monkeypatch.setattr("sys.stdout.isatty", lambda: is_terminal)

    assert isinstance(progress.choose(verbose=verbose, as_json=as_json), kind)


@pytest.mark.parametrize(
    ("count", "text"),
    [
        (0, "0 B"),
        (999, "999 B"),
        (1_000, "1.0 kB"),
        (999_949, "999.9 kB"),
        (999_950, "1.0 MB"),
        (1_234_567_890, "1.2 GB"),
        (10**13, "10.0 TB"),
    ],
)
def test_bytes_are_decimal_with_one_digit(count, text, clock, columns, capsys):
    progress.TerminalProgress(clock=clock).show(IMAGE, record(done=count))

    assert drawn(capsys)[-1].endswith(f"PULLING     {text}")
