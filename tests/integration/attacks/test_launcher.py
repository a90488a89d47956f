# SPDX-License-Identifier: BSD-3-Clause
"""Rule 2: how the launcher is built, and what reaches the interpreter of whatever it is given.

A build with ASAN and UBSAN, which runs as root here instead of set-uid, is started with arguments,
variables and descriptors that hypothesis invents. In the place of the interpreter is a program
that says what it got.
"""

from __future__ import annotations

import ctypes
import dataclasses
import os
import subprocess
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.integration.installation import ROOT

pytestmark = [pytest.mark.root, pytest.mark.attack(2)]

# Seconds to look for a case that fails, roughly: $SHIFTER_FUZZ_SECONDS for more.
SECONDS = int(os.environ.get("SHIFTER_FUZZ_SECONDS", 15))
EXAMPLES_PER_SECOND = 40


def readelf(program: Path, *options: str) -> str:
    command = ["readelf", "--wide", *options, program]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def test_the_door_is_built_to_be_hard_to_break(installation):
    launcher = installation.program("shifter")
    headers = readelf(launcher, "--file-header", "--program-headers", "--dynamic")
    symbols = readelf(launcher, "--symbols")

    assert "DYN (Position-Independent Executable file)" in headers or "Type:  DYN" in headers
    assert "GNU_RELRO" in headers and "BIND_NOW" in headers and "Flags: NOW PIE" in headers
    (stack,) = [line for line in headers.splitlines() if "GNU_STACK" in line]
    assert " RW " in stack and "RWE" not in headers
    assert "__stack_chk_fail" in symbols and "_chk" in symbols  # checked copies of _FORTIFY_SOURCE


def test_the_door_needs_no_loader_that_a_caller_could_bend(installation):
    """It reads LD_*, and prints the caller's argv[0] while it is root's."""
    launcher = installation.program("shifter")

    assert "INTERP" not in readelf(launcher, "--program-headers")
    assert "NEEDED" not in readelf(launcher, "--dynamic")


def test_no_path_in_a_build_is_searched_for(installation):
    assert "RPATH" not in readelf(installation.program("shifter"), "--dynamic")
    assert "RUNPATH" not in readelf(installation.program("shifter"), "--dynamic")


@pytest.mark.parametrize("compiler", ["gcc"])
def test_the_door_builds_without_a_warning_of_the_strictest_kinds(compiler, tmp_path):
    # What is not freed before exec or exit is no leak.
    strict = (
        "-O2 -Wcast-align -Wnull-dereference -Wstrict-prototypes -Wundef -Wvla "
        "-fanalyzer -Wno-analyzer-malloc-leak"
    )
    command = ["make", "--silent", "-C", ROOT / "shifter_runtime/launcher", f"O={tmp_path}"]

    done = subprocess.run([*command, f"CC={compiler}", f"CFLAGS={strict}"], capture_output=True,
                          text=True, check=False)  # fmt: skip

    assert (done.returncode, done.stderr) == (0, "")


@dataclasses.dataclass
class Report:
    """What came to the interpreter, and what the sanitizers said."""

    arguments: list[bytes]
    variables: list[bytes]
    callers_variables: bytes
    descriptors: list[int]
    status: int
    said: bytes


class Sanitized:
    """The launcher that stops at its first mistake."""

    def __init__(self, launcher: Path, interpreter: Path) -> None:
        self.launcher = launcher
        self.interpreter = interpreter
        self._libc = ctypes.CDLL(None)

    def start(
        self, words: list[bytes], variables: list[bytes], closed: set[int], opened: list[int]
    ) -> Report:
        """Execute it with just these; `opened` are numbers that lead to a directory."""
        output, said = os.memfd_create("output"), os.memfd_create("said")
        child = os.fork()
        if child == 0:
            try:
                self._execute(words, variables, closed, opened, (output, said))
            finally:
                os._exit(99)
        _, status = os.waitpid(child, 0)
        report, complaint = (os.pread(fd, os.fstat(fd).st_size, 0) for fd in (output, said))
        os.close(output)
        os.close(said)
        return _understood(report, os.waitstatus_to_exitcode(status), complaint)

    def _execute(
        self,
        words: list[bytes],
        variables: list[bytes],
        closed: set[int],
        opened: list[int],
        streams: tuple[int, int],
    ) -> None:
        for number, stream in enumerate(streams, start=1):
            os.dup2(stream, number)
        directory = os.open("/", os.O_RDONLY)
        for number in opened:
            os.dup2(directory, number, inheritable=True)
        for number in closed:
            os.close(number)
        arguments = (ctypes.c_char_p * (len(words) + 1))(*words, None)
        environment = (ctypes.c_char_p * (len(variables) + 1))(*variables, None)
        self._libc.execve(os.fsencode(self.launcher), arguments, environment)


def _understood(report: bytes, status: int, said: bytes) -> Report:
    def item() -> bytes:
        nonlocal report
        length, _, report = report.partition(b":")
        found, report = report[: int(length)], report[int(length) :]
        return found

    def items() -> list[bytes]:
        nonlocal report
        found = []
        # The end is an empty item and a line end; an item that is empty has none behind it.
        while not report.startswith(b"0:\n"):
            found.append(item())
        report = report[3:]
        return found

    if status != 0 or not report:
        return Report([], [], b"", [], status, said)
    arguments, variables, content = items(), items(), item()
    return Report(arguments, variables, content, [*map(int, report.split())], status, said)


@pytest.fixture(scope="module")
def sanitized(installed_node, build, workshop):
    command = ["make", "--silent", "-C", ROOT / "shifter_runtime/launcher", "sanitized"]
    interpreter = build("report.c", "-static")
    launcher = workshop / "shifter-sanitized"
    places = {"O": workshop, "LAUNCHER": launcher, "PYTHON": interpreter, "RUNTIME": "/runtime",
              "CONFIG": "/config"}  # fmt: skip
    subprocess.run([*command, *(f"{key}={value}" for key, value in places.items())], check=True)
    return Sanitized(launcher, interpreter)


texts = st.binary(max_size=40).map(lambda text: text.replace(b"\0", b""))
long_texts = st.integers(0, 100_000).map(lambda size: b"x" * size)
numbers = st.one_of(
    st.integers(-5, 10_000).map(str),
    st.integers().map(str),
    st.text("0123456789 +-xeE.,_", max_size=12),
    st.sampled_from(["", "0", "1", "2", "3", "00003", "999999", "1000000", "2147483648"]),
).map(str.encode)
descriptor_variables = st.builds(
    lambda name, value: name + b"=" + value,
    st.sampled_from([b"PMI_FD", b"PMI_FD ", b"pmi_fd", b"PMI_RANK", b"PMIX_FD"]),
    numbers,
)
variables = st.one_of(
    texts, long_texts, descriptor_variables, st.builds(lambda a, b: a + b"=" + b, texts, texts)
)


@given(
    words=st.lists(st.one_of(texts, long_texts), max_size=12),
    variables=st.lists(variables, max_size=12),
    closed=st.sets(st.sampled_from([0, 2])),
    opened=st.lists(st.integers(3, 900), max_size=6, unique=True),
)
@settings(
    max_examples=SECONDS * EXAMPLES_PER_SECOND,
    deadline=None,
    database=None,
    suppress_health_check=list(HealthCheck),
)
def test_whatever_it_is_given_reaches_the_interpreter_as_data_alone(
    sanitized, words, variables, closed, opened
):
    report = sanitized.start(words, variables, closed, opened)

    assert b"Sanitizer" not in report.said and b"runtime error" not in report.said, report.said
    assert report.status == 0, report
    interpreter = os.fsencode(sanitized.interpreter)
    assert report.arguments[:6] == [interpreter, b"-I", b"-S", b"-B", b"/runtime", b"/config"]
    number, ignored, blocked = report.arguments[6:9]
    assert report.arguments[9:] == words[1:]
    assert set(ignored) <= set(b"cipx") and blocked in (b"", b"blocked")
    assert sorted(report.variables) == [b"LC_ALL=C", b"PATH=/usr/sbin:/usr/bin:/sbin:/bin"]
    assert report.callers_variables == b"".join(variable + b"\0" for variable in variables)
    assert report.descriptors == sorted({0, 1, 2, int(number)})


def test_a_megabyte_of_words_and_a_hundred_thousand_variables_are_data_too(sanitized):
    words = [b"shifter", *([b"x" * 100_000] * 10), *([b""] * 1000)]
    variables = [b"V%d=x" % number for number in range(50_000)]

    report = sanitized.start(words, variables, set(), [])

    assert report.status == 0, report.said
    assert report.arguments[9:] == words[1:]
    assert report.callers_variables.count(b"\0") == len(variables)


@pytest.mark.parametrize("number", [3, 7, 900, 1000])
def test_a_socket_of_the_batch_systems_is_kept_and_nothing_beside_it(sanitized, number):
    """Below, beside and above the descriptor that the launcher makes for itself."""
    reading, writing = os.pipe()
    os.dup2(writing, number + 3000, inheritable=True)
    try:
        report = sanitized.start(
            [b"shifter"], [b"PMI_FD=%d" % (number + 3000)], set(), [5, 6, number]
        )
    finally:
        os.close(number + 3000)
        os.close(reading)
        os.close(writing)

    assert report.status == 0, report.said
    kept = {0, 1, 2, int(report.arguments[6]), number + 3000}
    assert set(report.descriptors) == kept
