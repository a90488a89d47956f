# SPDX-License-Identifier: BSD-3-Clause
"""The login dialogue, on a pseudo-terminal."""

from __future__ import annotations

import os
import pty
import subprocess
import sys
import termios

import pytest

PROGRAM = """
from shifter_cli.logins import prompts
print(prompts.ask_login("reg", USERNAME), flush=True)
"""


@pytest.fixture
def dialogue():
    """Run the dialogue with a terminal of its own; type each answer when its prompt is there."""
    processes = []

    def run(answers, username=None, echo_at_prompts=None):
        master, slave = pty.openpty()
        process = subprocess.Popen(
            [sys.executable, "-c", PROGRAM.replace("USERNAME", repr(username))],
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
            env={"PYTHONPATH": os.pathsep.join(sys.path)},
            preexec_fn=lambda: (os.setsid(), os.close(os.open(os.ttyname(slave), os.O_RDWR))),
        )  # fmt: skip
        processes.append(process)
        shown = b""
        for answer in answers:
            while not shown.endswith(b": "):
                piece = os.read(process.stderr.fileno(), 1000)
                assert piece, shown
                shown += piece
            if echo_at_prompts is not None:
                echo_at_prompts.append(bool(termios.tcgetattr(master)[3] & termios.ECHO))
            os.write(master, answer)
            shown += b"|"
        stdout, stderr = process.communicate(timeout=20)
        echo_after = bool(termios.tcgetattr(master)[3] & termios.ECHO)
        os.close(slave)
        os.close(master)
        return stdout.decode(), (shown + stderr).decode(), echo_after

    yield run
    for process in processes:
        process.stdout.close()
        process.stderr.close()
        process.kill()
        process.wait()


def test_user_name_and_password_are_asked_as_the_original_asks(dialogue):
    stdout, stderr, _ = dialogue([b"bob\n", b'pa:ss"w\n'])

    assert stdout == """('bob', 'pa:ss"w')\n"""
    assert stderr == "reg username: |reg password: |\n"


def test_password_is_not_echoed_and_echo_is_restored(dialogue):
    echo = []

    _, _, echo_after = dialogue([b"bob\n", b"secret\n"], echo_at_prompts=echo)

    assert echo == [True, False]
    assert echo_after


def test_given_user_name_is_not_asked_for(dialogue):
    stdout, stderr, _ = dialogue([b"secret\n"], username="bob")

    assert stdout == "('bob', 'secret')\n"
    assert stderr == "reg password: |\n"


def test_end_of_input_stores_nothing(dialogue):
    stdout, stderr, _ = dialogue([b"\x04"])

    assert stdout == ""
    assert "nothing was typed" in stderr


def test_no_terminal_says_what_to_use_instead():
    result = subprocess.run(
        [sys.executable, "-c", PROGRAM.replace("USERNAME", "None")],
        stdin=subprocess.DEVNULL, capture_output=True, text=True, start_new_session=True,
        env={"PYTHONPATH": os.pathsep.join(sys.path)}, check=False,
    )  # fmt: skip

    assert "use --username NAME --password-stdin" in result.stderr
