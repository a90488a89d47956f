# SPDX-License-Identifier: BSD-3-Clause
"""Run other programs: the only place where the gateway does."""

from __future__ import annotations

import collections
import contextlib
import dataclasses
import fcntl
import os
import select
import shlex
import shutil
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import IO, BinaryIO, TypeVar, cast

from shifter_common.errors import ShifterError
from shifter_imagegw.errors import PullError

T = TypeVar("T")

_TAIL_LINES = 8
_LINE_MAX = 1000  # bytes
_PIPE_SIZE = 1 << 20  # the most that the kernel gives to a program without privileges
_SEARCH_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_BLINK, _MOMENT, _GLANCE = 0.01, 0.5, 1.0  # seconds
_LAST_WORDS = 5.0  # seconds that they may take to be read once the program has ended
_EXIT_GRACE = 10.0  # seconds that a program may take to end after it closed its input

_MOST_OUTPUT = 64 << 20  # bytes of standard output that are kept

# A program must not outlive a worker that is killed: its input would seem to be complete.
# (The kernel sends the signal when the thread ends that started the program.)
# Capabilities that the gateway's account was given, to open files as their users, are its alone.
_AS_CHILD = ("setpriv", "--inh-caps=-all", "--ambient-caps=-all", "--pdeathsig", "KILL")
_AS_NOBODY = ("--reuid=65534", "--regid=65534", "--clear-groups")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Ended:
    """A program that has ended: its standard output, and the end of its standard error."""

    status: int  # below 0: the signal that killed it
    output: str
    reason: str


@dataclasses.dataclass(frozen=True, kw_only=True)
class Running:
    """A program that runs: descriptors, and how it ended, to be asked when nothing more comes."""

    stdin: int
    stdout: int
    ended: Callable[[], Ended]


def run(
    argv: Sequence[str | Path],
    *,
    failing: type[PullError],
    package: str = "",
    timeout: float | None = None,
    environment: Mapping[str, str] | None = None,
) -> str:
    """Run a program to its end and give what it wrote to standard output.

    Raises `failing` with the end of its standard error when it is missing (naming the Debian
    `package`), ends with another status than 0, or takes more than `timeout` seconds.
    """
    ended = attempt(
        argv, failing=failing, package=package, timeout=timeout, environment=environment
    )
    if ended.status:
        raise failing(_sentence(argv, ended.status, ended.reason))
    return ended.output


def attempt(
    argv: Sequence[str | Path],
    *,
    failing: type[PullError],
    package: str = "",
    timeout: float | None = None,
    environment: Mapping[str, str] | None = None,
    text: str = "",
) -> Ended:
    """Run a program to its end, whatever its status, with `text` as its standard input.

    Raises `failing` as `run` does, but for the status.
    """
    with (
        _memory_file(text) as stdin,
        _started(argv, failing, package, environment, stdin, subprocess.PIPE) as (child, tail),
    ):
        output = _Output(cast("IO[bytes]", child.stdout))
        output.start()
        try:
            child.wait(timeout)
        except subprocess.TimeoutExpired as error:
            raise failing(f"{argv[0]} did not end within {timeout} seconds") from error
        # What the program has left behind may hold either for ever.
        output.join(_LAST_WORDS)
        tail.join(_LAST_WORDS)
    if output.is_too_long:
        raise failing(f"{argv[0]} wrote more than {_MOST_OUTPUT} bytes, and was stopped")
    return Ended(status=child.returncode, output=output.text, reason=tail.text)


def feed(
    argv: Sequence[str | Path],
    write: Callable[[BinaryIO], T],
    *,
    failing: type[PullError],
    package: str = "",
    environment: Mapping[str, str] | None = None,
) -> T:
    """Start a program and let `write` write its standard input; give what `write` gives.

    Raises `failing` as `run` does, also when the program ends before all is written. When `write`
    raises, the program is killed and what it made is worthless.
    """
    with _started(argv, failing, package, environment, subprocess.PIPE, subprocess.DEVNULL) as (
        child,
        tail,
    ):
        pipe = cast("BinaryIO", child.stdin)
        with contextlib.suppress(OSError):  # only slower without
            fcntl.fcntl(pipe.fileno(), fcntl.F_SETPIPE_SZ, _PIPE_SIZE)
        try:
            result = write(pipe)
            pipe.close()
        except BrokenPipeError:
            # Most likely the program has failed and knows why; else it is somebody else's pipe.
            with contextlib.suppress(subprocess.TimeoutExpired):
                child.wait(_EXIT_GRACE)
            if not child.returncode:
                raise
        else:
            child.wait()
        tail.join()
        if child.returncode:
            raise failing(_sentence(argv, child.returncode, tail.text))
    return result


def drain(
    argv: Sequence[str | Path],
    read: Callable[[int], T],
    *,
    stdin: int,
    memory: int,
    failing: type[PullError],
    package: str = "",
) -> T:
    """Start a program and let `read` read its standard output, a descriptor; give what it gives.

    The program, which may be taken over by what it reads, has the descriptor `stdin`, at most
    `memory` bytes of address space, and no privileges: as root's it is nobody's. Raises `failing`
    as `run` does. When `read` raises, the program is killed.
    """
    limited = ["prlimit", f"--as={memory}", "--"]
    _require(str(argv[0]), package, failing)
    with (
        _started(
            [*limited, *argv], failing, "util-linux", None, stdin, subprocess.PIPE, is_trusted=False
        ) as (child, tail),
        cast("IO[bytes]", child.stdout),
    ):
        try:
            result = read(cast("IO[bytes]", child.stdout).fileno())
        except ShifterError as error:
            # Most likely the consequence of what the program has met, if it has ended.
            with contextlib.suppress(subprocess.TimeoutExpired):
                child.wait(_MOMENT)
            if not child.returncode:
                raise
            tail.join(_LAST_WORDS)
            raise failing(_sentence(argv, child.returncode, tail.text)) from error
        with contextlib.suppress(subprocess.TimeoutExpired):
            child.wait(_EXIT_GRACE)
        if child.returncode != 0:
            _kill_group(child)
            status = child.wait()
            tail.join(_LAST_WORDS)
            raise failing(_sentence(argv, status, tail.text))
    return result


def watch(
    argv: Sequence[str | Path],
    *,
    called: str,
    failing: type[PullError],
    timeout: float,
    keep_going: Callable[[], None] | None = None,
) -> Ended:
    """Run a program of the site's to its end; `reason` is the end of all that it wrote.

    Raises `failing` when it is missing or takes more than `timeout` seconds, and whatever
    `keep_going` raises, which is called every second. What the program has started and left in its
    process group never outlives it.
    """
    end = time.monotonic() + timeout
    streams = (subprocess.DEVNULL, subprocess.PIPE)
    with _started(argv, failing, "", None, *streams, stderr=subprocess.STDOUT) as (child, tail):
        while not _has_ended(child, min(_GLANCE, end - time.monotonic())):
            if time.monotonic() >= end:
                raise failing(f"{called} did not end within {timeout:g} seconds, and was stopped")
            if keep_going is not None:
                keep_going()
        _kill_group(child)
        status = child.wait()
        tail.join(_MOMENT)
        return Ended(status=status, output="", reason=tail.text)


@contextlib.contextmanager
def running(
    argv: Sequence[str | Path],
    is_ready: Callable[[int], bool],
    *,
    failing: type[PullError],
    package: str = "",
) -> Iterator[int]:
    """Have a program run, from when its process is ready, for as long as the body does.

    Gives its process id. Raises `failing` where it ends before it is ready, or never is.
    """
    streams = (subprocess.DEVNULL, subprocess.DEVNULL)
    with _started(argv, failing, package, None, *streams) as (child, tail):
        end = time.monotonic() + _EXIT_GRACE
        while not is_ready(child.pid):
            if _has_ended(child, _BLINK):
                status = child.wait()
                tail.join(_MOMENT)
                raise failing(_sentence(argv, status, tail.text))
            if time.monotonic() >= end:
                raise failing(f"{argv[0]} was not ready within {_EXIT_GRACE:g} seconds")
        yield child.pid


@contextlib.contextmanager
def conversing(
    argv: Sequence[str | Path],
    *,
    failing: type[PullError],
    package: str = "",
    environment: Mapping[str, str] | None = None,
) -> Iterator[Running]:
    """Have a program run for as long as the body does, which writes to it and reads from it."""
    streams = (subprocess.PIPE, subprocess.PIPE)
    with (
        _started(argv, failing, package, environment, *streams) as (child, tail),
        cast("IO[bytes]", child.stdout) as stdout,
    ):
        with contextlib.suppress(OSError):  # only slower without
            fcntl.fcntl(stdout.fileno(), fcntl.F_SETPIPE_SZ, _PIPE_SIZE)

        def ended() -> Ended:
            _has_ended(child, _EXIT_GRACE)
            _kill_group(child)
            tail.join(_MOMENT)
            return Ended(status=child.wait(), output="", reason=tail.text)

        yield Running(
            stdin=cast("IO[bytes]", child.stdin).fileno(), stdout=stdout.fileno(), ended=ended
        )


@contextlib.contextmanager
def _memory_file(text: str) -> Iterator[int]:
    """A descriptor from which a program reads `text`, at its own speed."""
    descriptor = os.memfd_create("input")
    with open(descriptor, "wb") as file:
        file.write(text.encode("utf-8", "surrogateescape"))
        file.flush()
        os.lseek(descriptor, 0, os.SEEK_SET)
        yield descriptor


class _Output(threading.Thread):
    """Reads standard output; a program that writes too much of it finds nobody listening."""

    def __init__(self, stream: IO[bytes]) -> None:
        super().__init__(daemon=True)
        self._stream = stream
        self._output = bytearray()

    def run(self) -> None:
        with self._stream:
            while not self.is_too_long and (data := os.read(self._stream.fileno(), _PIPE_SIZE)):
                self._output += data

    @property
    def is_too_long(self) -> bool:
        return len(self._output) > _MOST_OUTPUT

    @property
    def text(self) -> str:
        return self._output.decode(errors="replace")


class _Tail(threading.Thread):
    """Reads standard error, so that the program never waits, and keeps its last lines."""

    def __init__(self, stream: IO[bytes]) -> None:
        super().__init__(daemon=True)
        self._stream = stream
        self._lines: collections.deque[bytes] = collections.deque(maxlen=_TAIL_LINES)

    def run(self) -> None:
        with self._stream:
            while line := self._stream.readline(_LINE_MAX):
                if line.strip():
                    self._lines.append(line.strip())

    @property
    def text(self) -> str:
        """The lines in one, without what would change the terminal of whoever reads it."""
        line = "; ".join(line.decode(errors="replace") for line in list(self._lines))
        return "".join(letter if letter.isprintable() else "?" for letter in line)


@contextlib.contextmanager
def _started(
    argv: Sequence[str | Path],
    failing: type[PullError],
    package: str,
    environment: Mapping[str, str] | None,
    stdin: int,
    stdout: int,
    *,
    stderr: int = subprocess.PIPE,
    is_trusted: bool = True,
) -> Iterator[tuple[subprocess.Popen[bytes], _Tail]]:
    """Start the program; when the block ends, however it does, the program has ended, too."""
    _require(str(argv[0]), package, failing)
    _require(_AS_CHILD[0], "util-linux", failing)
    ids = _AS_NOBODY if os.geteuid() == 0 and not is_trusted else ()
    child = subprocess.Popen(
        [*_AS_CHILD, *ids, "--", *map(str, argv)],
        stdin=stdin,
        stdout=stdout,
        stderr=stderr,
        cwd="/",
        process_group=0,
        env={"PATH": _search_path(), "LC_ALL": "C", **(environment or {})},
    )
    tail = _Tail(cast("IO[bytes]", child.stderr or child.stdout))
    tail.start()
    try:
        yield child, tail
    finally:
        _kill_group(child)
        child.wait()
        if child.stdin is not None:
            with contextlib.suppress(BrokenPipeError):
                child.stdin.close()
        # A daemon that the program has left behind may hold its standard error for ever.
        tail.join(_LAST_WORDS)


def _kill_group(child: subprocess.Popen[bytes]) -> None:
    """Kill the program and what it started; once it was waited for, its number is not its own."""
    if child.returncode is None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(child.pid, signal.SIGKILL)


def _has_ended(child: subprocess.Popen[bytes], seconds: float) -> bool:
    """Whether it ends in that time; it is not waited for, and so keeps its number."""
    descriptor = os.pidfd_open(child.pid)
    try:
        poll = select.poll()
        poll.register(descriptor, select.POLLIN)
        return bool(poll.poll(max(seconds, 0) * 1000))
    finally:
        os.close(descriptor)


def _require(program: str, package: str, failing: type[PullError]) -> None:
    if shutil.which(program, path=_search_path()):
        return
    hint = f": install the Debian package {package}" if package else ""
    raise failing(f"cannot find the program {program!r}{hint}")


def _search_path() -> str:
    return os.environ.get("PATH") or _SEARCH_PATH


def _sentence(argv: Sequence[str | Path], status: int, tail: str) -> str:
    end = f"exit status {status}" if status > 0 else f"signal {-status}"
    reason = tail or "it gave no reason"
    return f"{argv[0]} failed with {end}: {reason} (command: {shlex.join(map(str, argv))})"
