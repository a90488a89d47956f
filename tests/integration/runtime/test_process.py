# SPDX-License-Identifier: BSD-3-Clause
"""The program is started as if it had been executed in shifter's place: whatever its caller set up
for it, it has."""

from __future__ import annotations

import fcntl
import os
import pty
import resource
import signal
import socket
import struct
import subprocess
import termios
import time

import pytest

from tests.integration.runtime.node import ALICE, IMAGE_ID

pytestmark = pytest.mark.root

# A line of /proc/self/status: the signals of that kind, as a number in base 16.
SIGNALS = "grep -E '^(SigBlk|SigIgn)' /proc/self/status"


def bits(text: str) -> dict[str, int]:
    return {line.split(":")[0]: int(line.split()[1], 16) for line in text.splitlines()}


def is_set(mask: int, number: int) -> bool:
    return bool(mask >> (number - 1) & 1)


def add_grep(tree):
    for name in ("grep", "stty", "tty", "kill", "readlink"):
        (tree / "bin" / name).symlink_to("busybox")


@pytest.fixture
def tools(node):
    node.add_image(add_grep)
    return node


def ignoring(*numbers):
    return lambda: [signal.signal(number, signal.SIG_IGN) for number in numbers]


def blocking(*numbers):
    return lambda: signal.pthread_sigmask(signal.SIG_BLOCK, numbers)


@pytest.mark.parametrize(
    "numbers",
    [
        (signal.SIGINT,), (signal.SIGPIPE,), (signal.SIGXFSZ,), (signal.SIGCHLD,),
        (signal.SIGHUP, signal.SIGTERM, signal.SIGUSR1), (),
    ],
)  # fmt: skip
def test_signals_that_the_caller_ignores_are_ignored(tools, numbers):
    done = tools.run(
        "grep", "SigIgn", "/proc/self/status",
        preexec_fn=ignoring(*numbers), restore_signals=not numbers,
    )  # fmt: skip

    ignored = bits(done.stdout)["SigIgn"]
    wanted = {*numbers, *((signal.SIGPIPE, signal.SIGXFSZ) if numbers else ())}  # pytest's own
    assert {n for n in signal.valid_signals() if is_set(ignored, n)} == wanted


@pytest.mark.parametrize("numbers", [(), (signal.SIGINT,), (signal.SIGTERM, signal.SIGUSR2)])
def test_signals_that_the_caller_blocks_are_blocked(tools, numbers):
    done = tools.run("grep", "SigBlk", "/proc/self/status", preexec_fn=blocking(*numbers))

    blocked = bits(done.stdout)["SigBlk"]
    assert {n for n in signal.valid_signals() if is_set(blocked, n)} == set(numbers)


def test_a_caller_that_ignores_ctrl_c_is_not_ended_by_it(tools):
    process = tools.start(
        "sh", "-c", "echo started; kill -INT $$; echo alive",
        preexec_fn=ignoring(signal.SIGINT),
    )  # fmt: skip

    assert process.communicate(timeout=60)[0] == "started\nalive\n"
    assert process.returncode == 0


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL, signal.SIGHUP])
def test_a_signal_to_the_launcher_reaches_the_program(tools, number):
    process = tools.start("sh", "-c", "echo started; exec sleep 60")
    assert process.stdout.readline() == "started\n"

    process.send_signal(number)

    assert process.wait(10) == -number
    process.communicate()


def test_limits_and_niceness_are_kept(tools):
    limits = {
        resource.RLIMIT_NOFILE: (200, 300),
        resource.RLIMIT_CORE: (0, 0),
        resource.RLIMIT_STACK: (1 << 20, 1 << 21),
        resource.RLIMIT_CPU: (100, 200),
    }

    def prepare():
        for limit, values in limits.items():
            resource.setrlimit(limit, values)
        os.nice(7)

    script = "ulimit -n; ulimit -c; ulimit -s; ulimit -t; cat /proc/self/stat"
    *shown, stat = tools.run("sh", "-c", script, preexec_fn=prepare).stdout.splitlines()

    niceness = stat.rpartition(")")[2].split()[16]
    assert shown == ["200", "0", "1024", "100"]
    assert int(niceness) == os.nice(0) + 7


def test_standard_files_are_the_callers_own_open_files(node):
    # The same open file, not another of that name: a position that one moves, the other sees.
    path = node.shared / str(ALICE) / "input"
    path.write_text("first\nsecond\n")
    with path.open() as file:
        done = node.run("sh", "-c", "read line; echo $line", stdin=file)
        position = os.lseek(file.fileno(), 0, os.SEEK_CUR)

    assert done.stdout == "first\n"
    assert position >= len("first\n")


def test_no_descriptor_but_that_of_the_batch_system_reaches_the_program(node):
    """As Hydra leaves them: many pipes of its own open, one socket meant for the program."""
    ours, theirs = socket.socketpair()
    pipes = [os.pipe() for _ in range(10)]
    meant = theirs.fileno()
    passed = [meant, *(fd for pair in pipes for fd in pair)]
    try:
        done = node.run("ls", "/proc/self/fd", pass_fds=passed, env={"PMI_FD": str(meant)})
    finally:
        for fd in passed[1:]:
            os.close(fd)
        ours.close()
        theirs.close()

    numbers = {int(number) for number in done.stdout.split()}
    assert meant in numbers
    assert len(numbers - {0, 1, 2, meant}) == 1  # the directory that ls itself reads


@pytest.mark.parametrize("text", ["", "x", "-1", "999999", "1000000000000", "3 ", "0x3", "3,4"])
def test_a_descriptor_that_is_none_is_no_descriptor(node, text):
    assert node.run("ls", "/proc/self/fd", env={"PMI_FD": text}).stdout.split() == list("0123")


@pytest.mark.parametrize("place", ["removed", "unreachable", "roots"])
def test_a_working_directory_that_cannot_be_kept_becomes_the_root(tools, place, tmp_path):
    directory = tools.shared / str(ALICE) / "deep" / "er"
    directory.mkdir(parents=True)
    os.chown(directory.parent, ALICE, ALICE)

    def lose():
        if place == "removed":
            directory.rmdir()
        elif place == "unreachable":
            directory.parent.chmod(0)

    # The container has tmp_path, too, which is root's.
    here = tmp_path if place == "roots" else directory
    done = tools.run("sh", "-c", "readlink /proc/self/cwd; ls ..", cwd=here, preexec_fn=lose)

    where, *beside = done.stdout.splitlines()
    assert (done.returncode, where) == (0, "/")
    assert {"bin", "shared"} <= set(beside)  # what is above the container's root is that root


def run_on_terminal(node, *words, size=(0, 0)):
    """Run `shifter` on a terminal of its own; gives its process and the terminal's other end."""
    main, side = pty.openpty()
    fcntl.ioctl(side, termios.TIOCSWINSZ, struct.pack("HHHH", *size, 0, 0))
    os.fchown(side, ALICE, -1)
    process = subprocess.Popen(
        [node.launcher, f"--image=id:{IMAGE_ID}", *words],
        user=ALICE, group=ALICE, extra_groups=[], stdin=side, stdout=side, stderr=side, cwd="/",
        env={}, start_new_session=True,
        preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),
    )  # fmt: skip
    os.close(side)
    return process, main


def read_until(fd, text, seconds=20):
    seen = b""
    deadline = time.monotonic() + seconds
    while text not in seen and time.monotonic() < deadline:
        try:
            seen += os.read(fd, 4096)
        except OSError:  # the other end is closed
            break
    assert text in seen, seen
    return seen


def test_a_terminal_is_one_inside_with_its_name_and_size(tools):
    process, terminal = run_on_terminal(tools, "sh", "-c", "tty; stty size", size=(33, 77))

    seen = read_until(terminal, b"33 77")

    assert b"/dev/pts/" in seen
    assert process.wait(10) == 0
    os.close(terminal)


def test_ctrl_c_and_ctrl_z_on_a_terminal_work_as_without_shifter(tools):
    # An interactive shell has job control only where the terminal is its own.
    process, terminal = run_on_terminal(tools, "sh", "-i")
    read_until(terminal, b"$ ")
    os.write(terminal, b"sleep 60\n")
    time.sleep(0.3)
    os.write(terminal, b"\x1a")
    read_until(terminal, b"Stopped")
    os.write(terminal, b"fg\n")
    time.sleep(0.3)
    os.write(terminal, b"\x03")
    os.write(terminal, b"echo ended with $?\n")
    seen = read_until(terminal, b"ended with 130")
    os.write(terminal, b"exit 3\n")

    assert b"can't access tty" not in seen
    assert process.wait(10) == 3
    os.close(terminal)


def test_ctrl_c_on_a_terminal_ends_a_program_that_is_no_shell(tools):
    process, terminal = run_on_terminal(tools, "sh", "-c", "echo started; sleep 60")
    read_until(terminal, b"started")

    os.write(terminal, b"\x03")

    assert process.wait(10) == -signal.SIGINT
    os.close(terminal)


def test_a_process_without_memory_is_told_in_words(node):
    told = set()
    for megabytes in range(12, 40, 2):
        limit = (megabytes << 20, megabytes << 20)
        done = node.run("true", preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_AS, limit))  # noqa: B023
        told.add(done.stderr)

    assert not any("Traceback" in text and "shifter_runtime" in text for text in told)
    assert not any("a defect of Shifter" in text for text in told)
