# SPDX-License-Identifier: BSD-3-Clause
"""Rule 5: a launch that is ended or stopped at whatever step leaves the node as it was.

The runtime of this installation is started by an entry of the test's own, which sends its process a
signal when the interpreter comes back from the Nth call of the kernel's.
"""

from __future__ import annotations

import contextlib
import os
import signal
import time
from pathlib import Path

import pytest

from tests.hostile_images import picture
from tests.integration.attacks.conftest import (
    as_user,
    read_terminal,
    rounds,
    start_on_terminal,
)
from tests.integration.runtime.node import ALICE, IMAGE_ID, host_state

pytestmark = [pytest.mark.root, pytest.mark.attack(5)]

ENTRY = '''
import sys
sys.path.insert(0, __file__.rpartition("/shifter_runtime/")[0])
import os
with open({order!r}) as file:
    number, point = map(int, file.read().split())
passed = []

def watch(frame, event, argument):
    """Count what has gone to the kernel: functions of `os`, and of shifter_runtime.syscalls."""
    if event == "c_return" and getattr(argument, "__module__", "") in ("posix", "pwd", "grp"):
        passed.append(argument.__name__)
    elif event == "return" and frame.f_code.co_filename.endswith("/syscalls.py"):
        passed.append(frame.f_code.co_name)
    elif event == "c_call" and argument is os.execve and not point:
        os.write(2, " ".join(passed).encode())
        sys.setprofile(None)
    else:
        return
    if len(passed) == point:
        sys.setprofile(None)
        os.kill(os.getpid(), number)

from shifter_runtime.main import main
sys.setprofile(watch)
main(sys.argv[1:])
'''


class Faults:
    """Sends a signal at a point of the next launches; `names` says what returns at each."""

    def __init__(self, node):
        self._node = node
        self._entry = node.prefix / "lib/shifter/shifter_runtime/entry.py"
        self._order = node.prefix / "fault"
        self._usual = self._entry.read_text()
        self.names = []

    def __enter__(self):
        self._entry.write_text(ENTRY.format(order=str(self._order)))
        self.arm(0, 0)
        self.names = self._node.run("true").stderr.split()
        return self

    def __exit__(self, *failure):
        self._entry.write_text(self._usual)
        self._order.unlink()

    def arm(self, number, point):
        self._order.write_text(f"{number} {point}")

    def points_after(self, name):
        return [place for place, found in enumerate(self.names, 1) if found == name]


@pytest.fixture
def faults(node):
    node.configure(siteFs=f"{node.shared}:/shared", perNodeCachePath=None)
    (node.shared / str(ALICE) / "mine").mkdir()
    os.chown(node.shared / str(ALICE) / "mine", ALICE, ALICE)
    assert node.run("true").returncode == 0  # what is made but once is there
    with Faults(node) as faults:
        yield faults


def assert_the_next_launch_works(node, faults):
    faults.arm(signal.SIGKILL, 1 << 30)
    before = time.monotonic()

    assert node.run("id", "-u").stdout == f"{ALICE}\n"

    assert time.monotonic() - before < 5


WORDS = (f"-V/shared/{ALICE}/mine:/data;/shared/{ALICE}/mine:/new/deep", "true")


def test_there_is_a_point_after_each_change_that_root_makes(faults):
    """Else the tests below would test nothing."""
    for name in ("unshare_mounts", "control", "make_filesystem", "attach", "pivot_root", "write"):
        assert faults.points_after(name), name
    assert len(faults.names) > 150


@pytest.mark.parametrize(
    ("number", "share"),
    [("KILL", 4), ("INT", 25), ("TERM", 25), ("HUP", 25), ("QUIT", 25), ("SEGV", 25), ("XCPU", 25)],
)
def test_a_launch_that_is_killed_at_any_step_leaves_nothing(node, outside, faults, number, share):
    before = picture(outside)
    number = signal.Signals[f"SIG{number}"]
    last = len(faults.names)
    step = 1 if os.environ.get("SHIFTER_ATTACK_ROUNDS") else share
    survivors = []
    for point in range(1 + number % step, last, step):
        faults.arm(number, point)
        done = node.run(*WORDS)
        if done.returncode != -number:
            survivors.append((point, faults.names[point - 1], done))

    assert not survivors
    assert_the_next_launch_works(node, faults)
    assert picture(outside) == before
    deadline = time.monotonic() + 5
    while host_state(node.prefix) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert host_state(node.prefix) == []


@pytest.mark.parametrize(
    "name",
    ["try_to_lock", "control", "unshare_mounts", "make_filesystem", "attach", "setresuid"],
)
def test_a_launch_that_is_stopped_keeps_nobody_from_his_and_goes_on(node, faults, name):
    faults.arm(signal.SIGSTOP, faults.points_after(name)[-1])
    stopped = node.start("id", "-u")
    try:
        while (state := _state(stopped.pid)) != "T":
            assert state != "Z", stopped.communicate()
            time.sleep(0.01)
        assert_the_next_launch_works(node, faults)
    finally:
        os.kill(stopped.pid, signal.SIGCONT)

    assert stopped.communicate(timeout=20)[0] == f"{ALICE}\n"


def _state(pid):
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]


def test_no_signal_of_the_users_reaches_root_at_work(node, faults):
    """From where root hides, all that the user has is the terminal: see below."""
    (point, *_) = faults.points_after("unshare_mounts")
    faults.arm(signal.SIGSTOP, point)
    stopped = node.start("id", "-u")
    try:
        while _state(stopped.pid) != "T":
            time.sleep(0.01)
        # All but SIGCONT, which the kernel lets pass within a session (kill(2)).
        code = (
            "import os, sys\n"
            "for number in {*range(1, 65)} - {18, 32, 33}:\n"
            "    try:\n"
            "        os.kill(int(sys.argv[1]), number)\n"
            "        print(number)\n"
            "    except PermissionError:\n"
            "        pass\n"
        )
        assert as_user(code, stopped.pid) == ""
        assert _state(stopped.pid) == "T"
    finally:
        os.kill(stopped.pid, signal.SIGCONT)

    assert stopped.communicate(timeout=20)[0] == f"{ALICE}\n"


@pytest.mark.parametrize(
    "key", [b"\x03", b"\x1c", b"\x1a", None], ids=["C", "backslash", "Z", "hup"]
)
def test_keys_of_the_terminal_at_any_moment_leave_nothing(node, key):
    """Ctrl-C, Ctrl-\\, Ctrl-Z and a terminal that goes away: the kernel sends these signals."""
    said = b""
    for number in range(rounds(30)):
        process, terminal = start_on_terminal(node.launcher, f"--image=id:{IMAGE_ID}", *WORDS)
        time.sleep(0.0007 * (number % 40))
        for _ in range(3):
            if key is not None:
                with contextlib.suppress(OSError):
                    os.write(terminal, key)
        if key is None:
            os.close(terminal)
        elif key == b"\x1a":
            _continue_until_the_end(process)
        if key is not None:
            said += read_terminal(terminal)
        process.wait(timeout=20)

    assert b"Traceback" not in said and b"a defect of Shifter" not in said
    assert node.run("id", "-u").stdout == f"{ALICE}\n"


def _continue_until_the_end(process):
    """The key may take effect a moment later than this looks."""
    deadline = time.monotonic() + 20
    while process.poll() is None and time.monotonic() < deadline:
        if _state(process.pid) == "T":
            os.kill(process.pid, signal.SIGCONT)
        time.sleep(0.001)
