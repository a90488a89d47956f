# SPDX-License-Identifier: BSD-3-Clause
"""Other programs: found, run to their end with what they cost, or kept running and stopped."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import BinaryIO

from benchmarks.memory import watching

TAIL = 800  # characters of a program's own words that an error repeats
PATIENCE = 30.0  # seconds for a program to come up, and for one to go


class BenchmarkError(Exception):
    """A measurement that could not be made; the text says why."""


@dataclasses.dataclass(frozen=True)
class Cost:
    """What a finished program, with every child it waited for, took."""

    seconds: float
    cpu_seconds: float
    peak_memory: int  # bytes, of the largest process


def missing(*programs: str) -> str:
    """The sentence for programs that this machine lacks; empty where all are there."""
    absent = [program for program in programs if shutil.which(program) is None]
    return f"not installed here: {', '.join(absent)}" if absent else ""


def run(
    command: Sequence[str | Path],
    *,
    environment: Mapping[str, str] | None = None,
    directory: Path | None = None,
    check: bool = True,
) -> str:
    """Run a program to its end and return what it printed; without `check`, however it ended."""
    done = subprocess.run(
        command,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        errors="replace",
        check=False,
        cwd=directory,
        env=None if environment is None else dict(environment),
    )
    if done.returncode and check:
        raise BenchmarkError(_failure(command, done.returncode, done.stderr or done.stdout))
    return done.stdout


def measure(
    command: Sequence[str | Path],
    log: Path,
    *,
    environment: Mapping[str, str] | None = None,
    directory: Path | None = None,
) -> Cost:
    """Run a program to its end and return what it cost; its output goes to `log`."""
    with log.open("wb") as output:
        started = time.perf_counter()
        process = _start(command, output, environment, directory)
        try:
            # The ru_maxrss of a child begins with that of the process that started it: not used.
            with watching(process.pid) as memory:
                _, status, usage = os.wait4(process.pid, 0)
                seconds = time.perf_counter() - started
        except BaseException:
            _stop(process)
            raise
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise BenchmarkError(_failure(command, process.returncode, _text(log)))
    return Cost(seconds, usage.ru_utime + usage.ru_stime, memory.largest())


@contextlib.contextmanager
def running(
    command: Sequence[str | Path],
    log: Path,
    *,
    ready: Callable[[], bool],
    environment: Mapping[str, str] | None = None,
    directory: Path | None = None,
) -> Iterator[int]:
    """Keep a program running, from when `ready` says so; gives its pid, and stops it by that."""
    with log.open("wb") as output:
        process = _start(command, output, environment, directory)
    try:
        _wait_until(ready, process, command, log)
        yield process.pid
    finally:
        _stop(process)


@contextlib.contextmanager
def empty(directory: Path) -> Iterator[Path]:
    """Make the directory, without what an earlier run may have left in it; remove it afterwards."""
    shutil.rmtree(directory, ignore_errors=True)
    directory.mkdir()
    try:
        yield directory
    finally:
        shutil.rmtree(directory, ignore_errors=True)


def free_port() -> int:
    """A TCP port of the loopback interface that nobody listens on at the moment."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def listens(port: int) -> bool:
    with socket.socket() as probe:
        probe.settimeout(1)
        return probe.connect_ex(("127.0.0.1", port)) == 0


def _start(
    command: Sequence[str | Path],
    output: BinaryIO,
    environment: Mapping[str, str] | None,
    directory: Path | None,
) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        stdout=output,
        stderr=subprocess.STDOUT,
        cwd=directory,
        env=None if environment is None else dict(environment),
        start_new_session=True,  # its pid then also names the group of its children
    )


def _wait_until(
    ready: Callable[[], bool],
    process: subprocess.Popen[bytes],
    command: Sequence[str | Path],
    log: Path,
) -> None:
    deadline = time.monotonic() + PATIENCE
    while not ready():
        if process.poll() is not None:
            raise BenchmarkError(_failure(command, process.returncode, _text(log)))
        if time.monotonic() > deadline:
            raise BenchmarkError(
                f"{_name(command)} did not come up in {PATIENCE:.0f} s: {_text(log)[-TAIL:]}"
            )
        time.sleep(0.02)


def _stop(process: subprocess.Popen[bytes]) -> None:
    """Ask the program to end, then end whatever is left of its process group."""
    if process.poll() is None:
        process.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(PATIENCE)
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def _failure(command: Sequence[str | Path], status: int, words: str) -> str:
    how = f"exit status {status}" if status >= 0 else signal.Signals(-status).name
    return f"{_name(command)} failed ({how}): {words.strip()[-TAIL:]}"


def _name(command: Sequence[str | Path]) -> str:
    return " ".join([Path(command[0]).name, *map(str, command[1:3])])


def _text(log: Path) -> str:
    return log.read_text(errors="replace")
