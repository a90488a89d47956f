# SPDX-License-Identifier: BSD-3-Clause
"""The Slurm plugin in a process that behaves as Slurm's do, and what is seen of it from there."""

from __future__ import annotations

import dataclasses
import os
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

HERE = Path(__file__).parent
PLUGIN_SOURCES = HERE.parents[1] / "slurm_spank"
SANITIZERS = (
    *("-fsanitize=address,undefined", "-fno-sanitize-recover=all", "-fno-omit-frame-pointer"),
    # Where nothing was written, what is read is no text, nor 0.
    *("-O1", "-g", "-U_FORTIFY_SOURCE", "-ftrivial-auto-var-init=pattern"),
)

# Leaks and errors end the process with a status that nothing else has.
FOUND_BY_SANITIZER = 97
SANITIZER_OPTIONS = {
    "ASAN_OPTIONS": f"exitcode={FOUND_BY_SANITIZER}:detect_leaks=1:abort_on_error=0"
    ":allocator_may_return_null=1:detect_stack_use_after_return=1:strict_string_checks=1",
    "UBSAN_OPTIONS": f"exitcode={FOUND_BY_SANITIZER}:print_stacktrace=1",
}

Record = tuple[str, str, str]


def build_plugin(directory: Path, config: Path, *flags: str) -> Path:
    """The plugin, made by its own Makefile; `config` is compiled in as udiRoot.conf."""
    directory.mkdir()
    words = ["make", "--silent", "-C", PLUGIN_SOURCES, f"O={directory}", f"CONFIG={config}"]
    words += [f"CFLAGS={' '.join(flags)}"] if flags else []
    subprocess.run(words, check=True)
    return directory / "shifter_slurm.so"


def build_mock(path: Path) -> Path:
    sources = sorted(HERE.glob("*.c"))
    # What a plugin calls must be found in the program that loads it: -rdynamic.
    flags = ("-std=gnu11", "-D_GNU_SOURCE", "-Wall", "-Wextra", "-Werror", "-rdynamic", *SANITIZERS)
    subprocess.run(["gcc", *flags, "-o", path, *sources, "-ldl"], check=True)
    return path


@dataclasses.dataclass(frozen=True)
class Seen:
    """What the mock reported, and how it ended."""

    status: int
    records: list[Record]
    stderr: str

    def require_sound(self) -> Seen:
        """Fail the test where the plugin ended its process, or did what none may do."""
        told = f"ended with {self.status} after {self.records[-3:]}\n{self.stderr}"
        assert (self.status, self.records[-1:]) == (0, [("end", "", "")]), told
        return self

    def of(self, kind: str) -> list[tuple[str, str]]:
        return [(name, value) for other, name, value in self.records if other == kind]

    def returned(self, hook: str) -> int | None:
        """What the hook returned the last time; None where the plugin has no such hook."""
        values = [int(value) for name, value in self.of("return") if name == hook]
        return values[-1] if values else None

    def said(self, *levels: str) -> str:
        """The lines that reach a user: errors, unless other levels are asked for."""
        wanted = levels or ("error", "spank")
        return "\n".join(text for level, text in self.of("log") if level in wanted)

    def variables(self, kind: str) -> dict[str, str]:
        """`environ`, `job` or `control`, as they were at the last look."""
        return dict(self.of(kind))


class Script:
    """What the mock is to do, in order; see mock.c."""

    def __init__(self, context: str) -> None:
        self._words: list[bytes] = []
        self.add("context", context)

    def add(
        self, command: str, name: str | bytes | int = "", value: str | bytes | int = ""
    ) -> Script:
        for word in (command, name, value):
            encoded = word if isinstance(word, bytes) else os.fsencode(str(word))
            assert b"\0" not in encoded
            self._words.append(encoded + b"\0")
        return self

    def each(self, command: str, *names: str) -> Script:
        for name in names:
            self.add(command, name)
        return self

    def extend(self, other: Script) -> Script:
        """Go on with another script, its context included."""
        self._words += other._words
        return self

    @property
    def text(self) -> bytes:
        return b"".join(self._words)


@dataclasses.dataclass
class Site:
    """A place where Shifter is said to be installed, with stand-ins for what the plugin starts."""

    directory: Path
    mock: Path
    plugin: Path
    config: Path

    def __post_init__(self) -> None:
        for name in ("sbin", "libexec/shifter", "run"):
            (self.directory / name).mkdir(parents=True, exist_ok=True)
        self.configure(f"udiRootPath = {self.directory}\n")

    def configure(self, text: str | bytes) -> None:
        self.config.unlink(missing_ok=True)
        self.config.write_bytes(text if isinstance(text, bytes) else text.encode())

    def program(self, name: str, script: str) -> Path:
        """Put a shell script where the plugin looks for one of Shifter's programs."""
        path = self.directory / name
        path.unlink(missing_ok=True)
        path.write_text(f"#!/bin/sh\n{script}\n")
        path.chmod(0o755)
        return path

    def submission(self, script: str) -> Path:
        return self.program("libexec/shifter/submission", script)

    def setup_root(self, script: str) -> Path:
        return self.program("sbin/setupRoot", script)

    def unsetup_root(self, script: str) -> Path:
        return self.program("sbin/unsetupRoot", script)

    def calls(self, name: str = "calls") -> list[list[str]]:
        """The arguments of each call that `log_call` noted."""
        log = self.directory / name
        if not log.exists():
            return []
        records = log.read_bytes().split(b"\n\0\n")[:-1]
        return [[os.fsdecode(word) for word in record.split(b"\0")[:-1]] for record in records]

    def log_call(self, name: str = "calls") -> str:
        """A line of shell that notes the program's arguments, whatever bytes they have."""
        return f'{{ printf "%s\\0" "$0" "$@"; printf "\\n\\0\\n"; }} >>{self.directory / name}'

    @property
    def jobs(self) -> Path:
        """What the plugin keeps below /run/shifter in its own view of /run."""
        return self.directory / "run/jobs"

    def run(
        self, script: Script, *, environment: dict[str, str] | None = None, seconds: float = 60
    ) -> Seen:
        """Have the mock follow a script; the process and all that it started is gone afterwards."""
        process = self.start(script, environment=environment)
        try:
            process.wait(seconds)
        finally:
            end_session(process)
        return self.seen(process)

    def start(
        self, script: Script, *, environment: dict[str, str] | None = None
    ) -> subprocess.Popen[bytes]:
        """... without waiting; to be ended by `end_session`."""
        self._report.unlink(missing_ok=True)
        own_run = b"run\0%b\0\0" % os.fsencode(self.directory / "run")
        with tempfile.TemporaryFile() as text, self._errors.open("wb") as errors:
            text.write(own_run + script.text)
            text.seek(0)
            return subprocess.Popen(
                [self.mock, self.plugin, self._report],
                stdin=text, stdout=errors, stderr=errors, cwd=self.directory,
                env={"PATH": os.environ["PATH"], **SANITIZER_OPTIONS, **(environment or {})},
                start_new_session=True,
            )  # fmt: skip

    def seen(self, process: subprocess.Popen[bytes]) -> Seen:
        """What was seen until a process ended."""
        errors = self._errors.read_text(errors="replace")
        return Seen(process.returncode, _records(self._report), errors)

    @property
    def _report(self) -> Path:
        return self.directory / "report"

    @property
    def _errors(self) -> Path:
        return self.directory / "stderr"


def started_program(process: subprocess.Popen[bytes], path: Path) -> int:
    """The number that a program wrote down in its first line, once it did."""
    while process.poll() is None:
        text = path.read_text() if path.exists() else ""
        if text.endswith("\n"):
            return int(text)
        time.sleep(0.01)
    raise AssertionError("the program was not started")


def end_session(process: subprocess.Popen[bytes]) -> None:
    """End the process and what it left running in its session."""
    for pid in processes_of_session(process.pid):
        os.kill(pid, signal.SIGKILL)
    process.wait()


def processes_of_session(session: int) -> list[int]:
    return [pid for pid, number in _sessions() if number == session]


def _sessions() -> Iterator[tuple[int, int]]:
    for entry in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = entry.read_text(errors="replace").rpartition(")")[2].split()
        except OSError:
            continue
        if fields[0] != "Z":
            yield int(entry.parent.name), int(fields[3])


def _records(report: Path) -> list[Record]:
    words: Sequence[str] = [os.fsdecode(word) for word in report.read_bytes().split(b"\0")[:-1]]
    return list(zip(words[::3], words[1::3], words[2::3], strict=True))
