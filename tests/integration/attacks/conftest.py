# SPDX-License-Identifier: BSD-3-Clause
"""What the attackers have at hand: programs in C, users' processes, and how often they try."""

from __future__ import annotations

import contextlib
import fcntl
import os
import pickle
import pty
import shutil
import subprocess
import termios
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from shifter_runtime import syscalls
from tests.hostile_images import picture
from tests.integration.runtime.node import ALICE

PROGRAMS = Path(__file__).with_name("programs")


def rounds(usual: int) -> int:
    """How many launches a race tries: $SHIFTER_ATTACK_ROUNDS where it is set (10000, say)."""
    return int(os.environ.get("SHIFTER_ATTACK_ROUNDS", usual))


@pytest.fixture(scope="session")
def workshop(installed_node) -> Iterator[Path]:
    """A directory that users can reach, for the programs of this folder."""
    directory = installed_node.prefix / "workshop"
    directory.mkdir()
    yield directory
    shutil.rmtree(directory)


@pytest.fixture(scope="session")
def build(workshop) -> Callable[..., Path]:
    """`build("swap.c", *flags)`: a program of this folder, compiled."""

    def build(source: str, *flags: str) -> Path:
        program = workshop / source.removesuffix(".c")
        if not program.exists():
            command = ["gcc", "-O2", "-Wall", "-Werror", *flags, "-o", program, PROGRAMS / source]
            subprocess.run(command, check=True)
        return program

    return build


@pytest.fixture
def swapping(build) -> Callable[..., contextlib.AbstractContextManager[None]]:
    """`with swapping(a, b)`: meanwhile a user exchanges two names as fast as it goes."""

    @contextlib.contextmanager
    def swapping(*paths: Path, user: int = ALICE) -> Iterator[None]:
        process = subprocess.Popen(
            [build("swap.c"), *paths], user=user, group=user, extra_groups=[]
        )
        try:
            yield
            assert process.poll() is None, "the attacker gave up"
        finally:
            process.kill()
            process.wait()

    return swapping


@pytest.fixture
def outside(node) -> Iterator[Path]:
    """A directory of the node where no container has any business; it must not change."""
    directory = node.prefix / "outside"
    directory.mkdir()
    (directory / "file").write_text("of the node\n")
    (directory / "directory").mkdir()
    before = picture(directory)
    yield directory
    after = picture(directory)
    shutil.rmtree(directory)
    assert after == before


def as_user(code: str, *words: object, user: int = ALICE, **options: Any) -> str:
    """What a Python program says that a user runs on the node, errors included."""
    done = subprocess.run(
        ["/usr/bin/python3", "-c", code, *map(str, words)],
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        user=user, group=user, timeout=60, check=False,
        **({"extra_groups": [], "cwd": "/"} | options),
    )  # fmt: skip
    return done.stdout


def start_on_terminal(
    *command: object, before: Callable[[], Any] = lambda: None, **options: Any
) -> tuple[subprocess.Popen[bytes], int]:
    """A program of a user's with a terminal that is its own, and the other end of that.

    When this returns, the program has been executed: keys reach nothing of the tests.
    """
    terminal, inner = pty.openpty()

    def take_terminal() -> None:
        fcntl.ioctl(0, termios.TIOCSCTTY, 0)
        before()

    process = subprocess.Popen(
        list(map(str, command)), stdin=inner, stdout=inner, stderr=inner, user=ALICE, group=ALICE,
        extra_groups=[ALICE], start_new_session=True, preexec_fn=take_terminal,
        **({"cwd": "/"} | options),
    )  # fmt: skip
    os.close(inner)
    return process, terminal


def read_terminal(terminal: int) -> bytes:
    """Everything that is said until nobody has the other end open."""
    said = b""
    with contextlib.suppress(OSError):  # EIO: the end
        while piece := os.read(terminal, 4096):
            said += piece
    os.close(terminal)
    return said


def in_own_mounts(function: Callable[[], Any]) -> Any:
    """What `function` returns or raises in a process with a mount namespace of its own."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            syscalls.unshare_mounts()
            syscalls.change_propagation("/", syscalls.MS_REC | syscalls.MS_PRIVATE)
            result = (True, function())
        except BaseException as error:
            result = (False, f"{type(error).__name__}: {error}")
        with open(writing, "wb") as answer:
            pickle.dump(result, answer)
        os._exit(0)
    os.close(writing)
    with open(reading, "rb") as answer:
        worked, result = pickle.load(answer)
    os.waitpid(child, 0)
    assert worked, result
    return result
