# SPDX-License-Identifier: BSD-3-Clause
"""What a person sees of pulls, on a terminal in memory."""

from __future__ import annotations

import os
import re

import pyte
import pytest

from shifter_cli.gateway.records import ImageRecord
from shifter_cli.progress import layout
from shifter_cli.progress.layout import Job
from shifter_cli.progress.terminal import TerminalProgress
from shifter_common.reference import ImageReference

IMAGE = ImageReference("docker", "lib/x:1")
OTHER = ImageReference("docker", "other:1")
LONG = ImageReference("docker", "registry.example/" + "long/" * 20 + "name:tag")
FINAL = r"[-\d]{10}T[:\d]{8} Pulling Image: docker:lib/x:1, status: READY"


class Terminal:
    """What was written to standard output, as it stands on a screen."""

    def __init__(self, capsys, monkeypatch):
        self._capsys = capsys
        self._monkeypatch = monkeypatch
        self.written = ""
        self.become(100, 24)

    def become(self, columns, rows):
        self.columns, self.rows = columns, rows
        size = os.terminal_size((columns, rows))
        self._monkeypatch.setattr("shutil.get_terminal_size", lambda: size)
        self._screen = pyte.Screen(columns, rows)
        self._stream = pyte.Stream(self._screen)

    @property
    def lines(self):
        """The lines with something on them."""
        written = self._capsys.readouterr().out
        self.written += written
        self._stream.feed(written.replace("\n", "\r\n"))
        return [line.rstrip() for line in self._screen.display if line.strip()]


@pytest.fixture
def terminal(capsys, monkeypatch):
    return Terminal(capsys, monkeypatch)


def layers(*sizes):
    return [
        {"digest": f"sha256:{index:02x}{'e' * 62}", "done": done, "size": size}
        for index, (done, size) in enumerate(sizes)
    ]


def record(state="PULLING", message="MISSING", done=None, total=None, layers=None):
    return ImageRecord.from_wire(
        {
            "status": state, "status_message": message, "bytes_done": done, "bytes_total": total,
            "layers_progress": layers,
        }
    )  # fmt: skip


def test_bytes_share_rate_and_remaining_time_are_shown(clock, terminal):
    display = TerminalProgress(clock=clock)

    display.show(IMAGE, record(done=0, total=700_000_000))
    clock.now += 2
    display.show(IMAGE, record(done=100_000_000, total=700_000_000))

    assert terminal.lines == [
        "docker:lib/x:1  PULLING     100.0 MB of 700.0 MB  14 %  50.0 MB/s  12 s left"
    ]


def test_rate_is_that_of_the_last_seconds(clock, terminal):
    display = TerminalProgress(clock=clock)

    for done in [0, 0, 0, 0, *range(0, 12_000_000, 1_000_000)]:
        display.show(IMAGE, record(done=done, total=50_000_000))
        clock.now += 1

    assert "1.0 MB/s" in terminal.lines[-1]


def test_another_try_starts_another_measurement(clock, terminal):
    display = TerminalProgress(clock=clock)

    for done in (0, 9_000_000, 0, 1_000_000):
        display.show(IMAGE, record(done=done, total=10_000_000))
        clock.now += 1

    assert "1.0 MB/s  9 s left" in terminal.lines[-1]


def test_stalled_pull_promises_no_end(clock, terminal):
    display = TerminalProgress(clock=clock)

    for _ in range(3):
        display.show(IMAGE, record(done=5, total=10))
        clock.now += 1

    assert "left" not in terminal.lines[-1]


def test_unknown_total_shows_bytes_and_rate(clock, terminal):
    display = TerminalProgress(clock=clock)

    display.show(IMAGE, record(done=0))
    clock.now += 1
    display.show(IMAGE, record(done=2_500))

    assert terminal.lines == ["docker:lib/x:1  PULLING     2.5 kB  2.5 kB/s"]


def test_gateway_without_byte_counts_shows_its_message(clock, terminal):
    TerminalProgress(clock=clock).show(IMAGE, record("PULLING", "Extracting Layers"))

    assert terminal.lines == ["docker:lib/x:1  PULLING     Extracting Layers"]


def test_finished_transfer_shows_the_message_of_what_follows(clock, terminal):
    display = TerminalProgress(clock=clock)

    display.show(IMAGE, record("TRANSFER", "Transferring image", done=10, total=10))

    assert "Transferring image" in terminal.lines[-1]


def test_each_layer_has_its_bar_below_the_image(clock, terminal):
    terminal.become(80, 24)

    TerminalProgress(clock=clock).show(
        IMAGE,
        record(done=75, total=200, layers=layers((50, 50), (25, 50), (0, 100))),
    )

    assert terminal.lines == [
        "docker:lib/x:1  PULLING     75 B of 200 B  37 %",
        "  00eeeeeeeeee  " + "━" * 34 + "      50 B of     50 B  100 %",
        "  01eeeeeeeeee  " + "━" * 17 + "─" * 17 + "      25 B of     50 B   50 %",
        "  02eeeeeeeeee  " + "─" * 34 + "       0 B of    100 B    0 %",
    ]


def test_narrow_terminal_has_shares_and_the_end_of_the_name(clock, terminal):
    terminal.become(40, 24)

    TerminalProgress(clock=clock).show(
        LONG, record(done=75, total=200, layers=layers((25, 50), (50, 150)))
    )

    assert terminal.lines == [
        "…g/long/long/name:tag  PULLING     37 %",
        "  00eeeeeeeeee  " + "━" * 8 + "─" * 8 + "   50 %",
        "  01eeeeeeeeee  " + "━" * 5 + "─" * 11 + "   33 %",
    ]


def test_plain_encoding_gets_plain_bars():
    job = Job(name="x", state="PULLING", layers=record(layers=layers((25, 50))).layers)

    (_, bar) = layout.lines([job], 80, 24, ascii_only=True)

    assert bar.isascii()
    assert "=-" in bar


def test_of_a_hundred_layers_the_active_ones_are_shown_and_the_others_counted(clock, terminal):
    terminal.become(80, 24)
    hundred = [(9, 9)] * 40 + [(3, 9)] * 4 + [(0, 9)] * 56

    TerminalProgress(clock=clock).show(IMAGE, record(done=372, total=900, layers=layers(*hundred)))

    assert [line.split()[0] for line in terminal.lines[1:-1]] == [
        f"{index:02x}eeeeeeeeee" for index in range(40, 44)
    ]
    assert terminal.lines[-1] == "  layers: 40 done, 56 waiting"


def test_more_active_layers_than_there_is_room_for_are_counted(clock, terminal):
    terminal.become(80, 6)

    TerminalProgress(clock=clock).show(
        IMAGE, record(done=1, total=900, layers=layers(*[(3, 9)] * 50))
    )

    assert len(terminal.lines) == 5
    assert terminal.lines[-1] == "  layers: 47 more coming"


def test_layers_that_all_have_come_are_no_news(clock, terminal):
    TerminalProgress(clock=clock).show(
        IMAGE, record("CONVERSION", "Converting image", 9, 9, layers((4, 4), (5, 5)))
    )

    assert terminal.lines == ["docker:lib/x:1  CONVERSION  Converting image"]


@pytest.mark.parametrize("columns", [1, 5, 20, 40, 60, 80])
@pytest.mark.parametrize("rows", [1, 2, 5, 24])
def test_nothing_that_is_drawn_wraps_or_scrolls(columns, rows):
    pull = record(done=1_000, total=2_000, message="m" * 200, layers=layers(*[(3, 9)] * 30))
    jobs = [
        Job(name=str(name), state="PULLING", message="m" * 200, done=done, total=2_000,
            rate=rate, layers=pull.layers)
        for name in (IMAGE, LONG)
        for done in (None, 1_000)
        for rate in (None, 3.0)
    ]  # fmt: skip

    lines = layout.lines(jobs, columns, rows)

    assert len(lines) <= rows
    assert all(len(line) < columns for line in lines)


def test_end_of_a_long_name_is_kept(clock, terminal):
    TerminalProgress(clock=clock).show(LONG, record("PULLING", "Extracting Layers"))

    assert "name:tag  PULLING" in terminal.lines[-1]


def test_line_of_the_original_remains_at_the_end(clock, terminal):
    display = TerminalProgress(clock=clock)

    display.show(IMAGE, record(done=3, total=9, layers=layers((3, 9), (0, 1))))
    display.show(IMAGE, record("READY"))

    assert len(terminal.lines) == 1
    assert re.fullmatch(FINAL, terminal.lines[0])


def test_several_images_are_shown_below_each_other_and_settled_ones_above(clock, terminal):
    display = TerminalProgress(clock=clock)

    display.show(IMAGE, record("PULLING", done=1, total=4))
    display.show(OTHER, record("PENDING"))
    assert terminal.lines == [
        "docker:lib/x:1  PULLING     1 B of 4 B  25 %",
        "docker:other:1  PENDING",
    ]
    display.show(IMAGE, record("READY"))
    display.show(OTHER, record("CONVERSION"))

    assert re.fullmatch(FINAL, terminal.lines[0])
    assert terminal.lines[1:] == ["docker:other:1  CONVERSION"]


def test_states_of_several_images_stand_below_each_other(clock, terminal):
    terminal.become(80, 24)
    display = TerminalProgress(clock=clock)

    display.show(LONG, record("PULLING", done=100_000_000, total=700_000_000))
    clock.now += 2
    display.show(LONG, record("PULLING", done=200_000_000, total=700_000_000))
    display.show(OTHER, record("PENDING"))

    assert terminal.lines == [
        "…ong/long/long/long/name:tag  PULLING     200.0 MB of 700.0 MB  28 %  10 s left",
        "docker:other:1                PENDING",
    ]


def test_message_that_is_cut_is_seen_to_be(clock, terminal):
    terminal.become(40, 24)

    TerminalProgress(clock=clock).show(LONG, record("CONVERSION", "Converting image"))

    assert terminal.lines == ["…g/long/name:tag  CONVERSION  Converti…"]


def test_more_images_than_rows_are_counted(clock, terminal):
    terminal.become(80, 5)
    display = TerminalProgress(clock=clock)

    for number in range(20):
        display.show(ImageReference("docker", f"x:{number}"), record("PENDING"))

    assert terminal.lines == [*(f"docker:x:{n}  PENDING" for n in range(3)), "and 17 more"]


def test_image_that_met_an_error_stays_above_and_leaves_the_place_to_the_next(clock, terminal):
    display = TerminalProgress(clock=clock)

    display.show(IMAGE, record("PULLING"))
    display.show(OTHER, record("PENDING"))
    display.give_up(IMAGE)
    display.show(OTHER, record("CONVERSION"))

    assert terminal.lines == ["docker:lib/x:1  PULLING", "docker:other:1  CONVERSION"]


def test_terminal_that_became_narrower_is_drawn_over_from_where_the_wrapped_lines_begin(
    clock, terminal
):
    display = TerminalProgress(clock=clock)
    pull = record(done=75, total=200, layers=layers((25, 50), (50, 150)))
    display.show(IMAGE, pull)
    before = terminal.lines
    terminal.become(40, 24)
    wrapped = sum(-(-len(line) // 40) for line in before)

    display.show(IMAGE, pull)

    assert terminal.lines[0].startswith("docker:lib/x:1  PULLING")
    assert f"\x1b[{wrapped - 1}A" in terminal.written
    assert wrapped > len(before)


def test_letters_that_are_twice_as_wide_are_drawn_over_too(clock, terminal):
    terminal.become(40, 24)
    display = TerminalProgress(clock=clock)

    display.show(IMAGE, record("PULLING", "层" * 30))
    display.show(IMAGE, record("PULLING", "done"))

    assert terminal.lines == ["docker:lib/x:1  PULLING     done"]


def test_nothing_is_written_when_nothing_changed(clock, terminal):
    display = TerminalProgress(clock=clock)
    display.show(IMAGE, record("PENDING"))
    assert terminal.lines
    written = terminal.written

    display.show(IMAGE, record("PENDING"))

    assert terminal.lines == ["docker:lib/x:1  PENDING"]
    assert terminal.written == written


def test_nothing_is_erased_before_it_is_overwritten(clock, terminal):
    display = TerminalProgress(clock=clock)

    for done in range(5):
        display.show(IMAGE, record(done=done, total=9, layers=layers((done, 9))))

    assert terminal.lines
    assert not re.search(r"\x1b\[[0-2]*[JK](?!\n|$|\r)", terminal.written)


def test_cursor_stays_below_what_is_left_when_the_waiting_is_interrupted(clock, terminal):
    display = TerminalProgress(clock=clock)

    display.show(IMAGE, record("PULLING"))
    display.interrupted()

    assert terminal.lines == ["docker:lib/x:1  PULLING"]
    assert terminal.written.endswith("\n")


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
def test_bytes_are_decimal_with_one_digit(count, text, clock, terminal):
    TerminalProgress(clock=clock).show(IMAGE, record(done=count))

    assert terminal.lines[-1].endswith(f"PULLING     {text}")
