# SPDX-License-Identifier: BSD-3-Clause
"""Running programs: what they say when they fail reaches the caller, and none stays behind."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import time
from pathlib import Path

import pytest

import shifter_imagegw.run as program_runner
from shifter_imagegw.errors import ConversionError, DeliveryError
from shifter_imagegw.run import attempt, feed, run, running, watch


def test_run_gives_what_the_program_wrote():
    assert run(["echo", "hello"], failing=ConversionError) == "hello\n"


def test_a_failure_names_the_command_its_status_and_its_last_words():
    script = "echo first >&2; echo 'disk full' >&2; exit 3"

    with pytest.raises(
        DeliveryError, match=r"sh failed with exit status 3: first; disk full \(command: sh -c "
    ):
        run(["sh", "-c", script], failing=DeliveryError)


def test_no_shell_reads_the_arguments():
    assert run(["echo", "$HOME; `id` *"], failing=ConversionError) == "$HOME; `id` *\n"


def test_nothing_of_the_environment_is_handed_on(monkeypatch):
    monkeypatch.setenv("SECRET", "x")

    seen = run([sys.executable, "-c", "import os; print(*os.environ)"], failing=ConversionError)

    assert set(seen.split()) <= {"PATH", "LC_ALL", "LC_CTYPE"}


def test_a_missing_program_says_what_to_install():
    with pytest.raises(ConversionError, match="'no-such-tool': install the Debian package tools"):
        run(["no-such-tool"], failing=ConversionError, package="tools")


def test_a_program_that_takes_too_long_is_stopped():
    with pytest.raises(ConversionError, match="sleep did not end within 0.05 seconds"):
        run(["sleep", "1000"], failing=ConversionError, timeout=0.05)


@pytest.mark.parametrize("last", ["true", "sleep 600"])
def test_who_holds_the_output_holds_up_nobody(last, tmp_path, monkeypatch):
    monkeypatch.setattr(program_runner, "_LAST_WORDS", 0.1)
    script = f"setsid sh -c 'echo $$ >{tmp_path}/pid; exec sleep 600' & echo said; {last}"
    started = time.monotonic()

    try:
        with contextlib.suppress(ConversionError):
            assert run(["sh", "-c", script], failing=ConversionError, timeout=1) == "said\n"
    finally:
        os.kill(int((tmp_path / "pid").read_text()), signal.SIGKILL)

    assert time.monotonic() - started < 60


def test_a_program_that_never_stops_writing_is_stopped(monkeypatch):
    monkeypatch.setattr(program_runner, "_MOST_OUTPUT", 1 << 20)

    with pytest.raises(ConversionError, match="yes wrote more than 1048576 bytes"):
        run(["yes"], failing=ConversionError)


def test_much_output_on_both_streams_does_not_block():
    script = "import sys; sys.stderr.write('e' * 300000); sys.stdout.write('o' * 300000)"

    assert len(run([sys.executable, "-c", script], failing=ConversionError)) == 300000


def test_feed_writes_the_input_and_gives_what_the_writer_gives(tmp_path):
    target = tmp_path / "copy"

    written = feed(["dd", "status=none", f"of={target}"], lambda pipe: pipe.write(b"x" * 3_000_000),
                   failing=ConversionError)  # fmt: skip

    assert written == target.stat().st_size == 3_000_000


def test_a_program_that_ends_early_gives_its_own_reason():
    def write(pipe):
        while True:
            pipe.write(bytes(1 << 20))

    with pytest.raises(ConversionError, match="exit status 1: No space left on device"):
        feed(["sh", "-c", "echo 'No space left on device' >&2; exit 1"], write,
             failing=ConversionError)  # fmt: skip


def test_a_program_that_ends_well_without_reading_is_no_success():
    with pytest.raises(BrokenPipeError):
        feed(["true"], lambda pipe: pipe.write(bytes(1 << 24)), failing=ConversionError)


def test_when_the_writer_fails_the_program_never_sees_the_end_of_its_input(tmp_path):
    done = tmp_path / "done"

    def write(pipe):
        pipe.write(b"half")
        raise ValueError("layer is damaged")

    with pytest.raises(ValueError, match="layer is damaged"):
        feed(["sh", "-c", f"cat > /dev/null; touch {done}"], write, failing=ConversionError)

    assert not done.exists()


def test_a_broken_pipe_of_somebody_else_is_not_blamed_on_the_program(monkeypatch):
    monkeypatch.setattr("shifter_imagegw.run._EXIT_GRACE", 0.01)

    def write(pipe):
        raise BrokenPipeError("registry closed the connection")

    with pytest.raises(BrokenPipeError, match="registry closed"):
        feed(["cat"], write, failing=ConversionError)


def test_no_child_and_no_descriptor_is_left():
    before = os.listdir("/proc/self/fd"), children()

    run(["true"], failing=ConversionError)

    assert (os.listdir("/proc/self/fd"), children()) == before


def children():
    """Those of this process, which may be servers that other tests share.

    Not by thread: one that has ended may be seen for a moment still.
    """
    found = []
    for task in Path("/proc/self/task").glob("*/children"):
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):
            found += task.read_text().split()
    return sorted(found)


def test_a_program_may_be_given_a_text_and_end_as_it_likes():
    text = "a line\n" * 100_000  # more than a pipe holds

    ended = attempt(["sh", "-c", "cat; echo no >&2; exit 3"], failing=ConversionError, text=text)

    assert (ended.status, ended.output, ended.reason) == (3, text, "no")


def watched(script: str, *, timeout: float = 30, **options):
    return watch(
        ["sh", "-c", script],
        called="the guard",
        failing=ConversionError,
        timeout=timeout,
        **options,
    )


def test_watch_gives_the_status_and_the_end_of_all_that_was_written():
    ended = watched("echo out; echo err >&2; exit 4")

    assert (ended.status, ended.reason) == (4, "out; err")


def test_watch_stops_a_program_that_takes_too_long_with_all_that_it_started(tmp_path):
    script = f"sleep 1000 & echo $! > {tmp_path}/child; sleep 1000"

    with pytest.raises(ConversionError, match="the guard did not end within 2 seconds"):
        watched(script, timeout=2)

    assert ends(int((tmp_path / "child").read_text()))


def test_what_a_watched_program_leaves_running_is_stopped(tmp_path):
    watched(f"sleep 1000 & echo $! > {tmp_path}/child")

    assert ends(int((tmp_path / "child").read_text()))


def test_a_daemon_that_keeps_the_output_open_holds_nobody_up(monkeypatch):
    monkeypatch.setattr("shifter_imagegw.run._LAST_WORDS", 0.1)

    assert watched("echo words; setsid sleep 1 &").reason == "words"


def test_watch_asks_whether_to_go_on(monkeypatch):
    monkeypatch.setattr("shifter_imagegw.run._GLANCE", 0.01)

    def stop() -> None:
        raise ValueError("the job is another's now")

    with pytest.raises(ValueError, match="another's"):
        watched("sleep 1000", keep_going=stop)


def test_what_programs_say_cannot_change_a_terminal():
    with pytest.raises(ConversionError, match=r": \?\[31mred\?\]0;title\? "):
        run(["sh", "-c", r"printf '\033[31mred\033]0;title\007' >&2; exit 1"],
            failing=ConversionError)  # fmt: skip


def test_a_program_runs_as_long_as_it_is_needed():
    with running(["sleep", "1000"], lambda process: True, failing=ConversionError) as process:
        assert not has_ended(process)

    assert ends(process)


def test_a_program_that_ends_before_it_is_ready_gives_its_reason():
    with (
        pytest.raises(ConversionError, match="exit status 2: no device"),
        running(["sh", "-c", "echo 'no device' >&2; exit 2"], lambda process: False,
                failing=ConversionError),
    ):  # fmt: skip
        pytest.fail("it was never ready")


def test_a_program_that_is_never_ready_is_stopped(monkeypatch):
    monkeypatch.setattr("shifter_imagegw.run._EXIT_GRACE", 0.05)
    seen = []

    with (
        pytest.raises(ConversionError, match="sleep was not ready within 0.05 seconds"),
        running(["sleep", "1000"], lambda process: bool(seen.append(process)),
                failing=ConversionError),
    ):  # fmt: skip
        pytest.fail("it was never ready")

    assert ends(seen[0])


def ends(process: int) -> bool:
    """Whether it has ended, or does so in a moment: a signal takes one to arrive."""
    deadline = time.monotonic() + 5
    while not has_ended(process) and time.monotonic() < deadline:
        time.sleep(0.005)
    return has_ended(process)


def has_ended(process: int) -> bool:
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except (FileNotFoundError, ProcessLookupError):
        return True
