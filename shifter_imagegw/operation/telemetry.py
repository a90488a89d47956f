# SPDX-License-Identifier: BSD-3-Clause
"""Counters of what the gateway's processes do, kept where any of them can add them up.

Each process has a file of its own below CacheDirectory, one line a counter, and writes a new value
over the old one: that costs microseconds, nobody waits for anybody, and a killed process loses
nothing. Whoever reads adds up all files, and puts those of processes that have ended into one.
Counting never fails a request or a pull.
"""

from __future__ import annotations

import contextlib
import fcntl
import logging
import os
import threading
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

from shifter_common.errors import ShifterError
from shifter_imagegw.errors import CatalogError, LeaseLostError, PullError
from shifter_imagegw.process_names import is_dead, worker_name
from shifter_imagegw.records import ImageRecord, JobKind, PullState

log = logging.getLogger(__name__)

BUCKETS = (0.1, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0, 600.0, 1800.0, 3600.0)  # s

_SUFFIX = ".counters"
_RETIRED = "retired"
_RESULTS = {type(None): "done", LeaseLostError: "lost", CatalogError: "interrupted"}
_VALUE_WIDTH = 24  # characters, at the beginning of a line


class Counters:
    """The counters of one process; a process that is forked off begins a file of its own."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self._changing = threading.Lock()
        self._pid = 0
        self._file = -1
        self._lines: dict[str, tuple[int, float]] = {}  # offset and value of each series
        self._end = 0

    def add(self, series: str, amount: float) -> None:
        with self._changing:
            if self._pid != os.getpid():
                self._begin()
            if self._file < 0:
                return
            offset, value = self._lines.get(series, (self._end, 0.0))
            value += amount
            line = f"{value:0{_VALUE_WIDTH}.6f} {series}\n".encode()
            try:
                os.pwrite(self._file, line, offset)
            except OSError as error:
                log.warning("counters not kept reason=%s", error.strerror)
                self._stop()
                return
            self._lines[series] = (offset, value)
            self._end = max(self._end, offset + len(line))

    def close(self) -> None:
        with self._changing:
            self._stop()

    def _begin(self) -> None:
        self._pid, self._lines, self._end = os.getpid(), {}, 0
        self._stop()
        try:
            self.directory.mkdir(parents=True, exist_ok=True, mode=0o700)
            path = self.directory / f"{worker_name(self._pid)}{_SUFFIX}"
            self._file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            log.warning("counters not kept reason=%s", error)

    def _stop(self) -> None:
        if self._file >= 0:
            os.close(self._file)
        self._file = -1


_counters: Counters | None = None


def configure(cache_directory: Path) -> None:
    """Count from now on, in this process and in those that it forks."""
    global _counters
    before, _counters = _counters, Counters(_directory(cache_directory))
    if before is not None:
        before.close()


def stop() -> None:
    """Count no more."""
    global _counters
    before, _counters = _counters, None
    if before is not None:
        before.close()


def count(name: str, labels: Mapping[str, str], amount: float = 1.0) -> None:
    """Add to a counter; labels are names that the site chose, or ours, never a user's text."""
    if _counters is not None:
        _counters.add(series(name, labels), amount)


def observe(name: str, labels: Mapping[str, str], seconds: float) -> None:
    """Add a duration to a histogram."""
    for bucket in BUCKETS:
        if seconds <= bucket:
            count(f"{name}_bucket", {**labels, "le": f"{bucket:g}"})
    count(f"{name}_bucket", {**labels, "le": "+Inf"})
    count(f"{name}_sum", labels, seconds)
    count(f"{name}_count", labels)


class JobMeter:
    """Measures one job: how long it stays in each of its states, and how it ends."""

    def __init__(self, record: ImageRecord) -> None:
        job = "expire" if record.kind is JobKind.REMOVAL else record.kind.value
        self._labels = {"system": record.system, "job": job}
        self._state: PullState | None = None
        self._since = 0.0

    def enter(self, state: PullState | None) -> None:
        """Note the next state; the same one again changes nothing, None ends the last one."""
        if state is self._state:
            return
        now = time.monotonic()
        if self._state is not None:
            stage = {"system": self._labels["system"], "stage": self._state.value.lower()}
            observe("shifter_stage_seconds", stage, now - self._since)
        self._state, self._since = state, now

    def end(self, error: BaseException | None, fetched_bytes: int) -> None:
        """Note the end; jobs that were stopped, lost or interrupted are done by another worker."""
        self.enter(None)
        result = _RESULTS.get(type(error), "failed")
        if not isinstance(error, Exception | None):
            result = "stopped"  # as the process is
        count("shifter_jobs_total", {**self._labels, "result": result})
        if result == "failed":
            kind = {"kind": type(_origin_of(error)).__name__}
            count("shifter_job_failures_total", {**self._labels, **kind})
        if fetched_bytes > 0:
            system = {"system": self._labels["system"]}
            count("shifter_fetched_bytes_total", system, fetched_bytes)


def series(name: str, labels: Mapping[str, str]) -> str:
    """A counter's name as Prometheus writes it: `name{system="cori"}`."""
    if not labels:
        return name
    pairs = ",".join(f'{key}="{_escaped(value)}"' for key, value in labels.items())
    return f"{name}{{{pairs}}}"


def collect(cache_directory: Path) -> dict[str, float]:
    """All counters of this cache directory, added up."""
    directory = _directory(cache_directory)
    if not directory.is_dir():
        return {}
    with _locked(directory):
        files = [path for path in directory.iterdir() if path.name.endswith(_SUFFIX)]
        _retire(directory, [path for path in files if is_dead(path.name.removesuffix(_SUFFIX))])
        return _sum_of([path for path in files if path.exists()] + [directory / _RETIRED])


def _origin_of(error: BaseException | None) -> BaseException | None:
    """The error that another one only puts into more words."""
    if type(error) is PullError and isinstance(error.__cause__, ShifterError):
        return error.__cause__
    return error


def _retire(directory: Path, files: list[Path]) -> None:
    """Keep what processes counted that have ended, in one file."""
    if not files:
        return
    retired = directory / _RETIRED
    lines = (
        f"{value:0{_VALUE_WIDTH}.6f} {name}\n"
        for name, value in sorted(_sum_of([*files, retired]).items())
    )
    partial = retired.with_name(f"{_RETIRED}.partial")
    partial.write_text("".join(lines))
    partial.rename(retired)
    for path in files:
        path.unlink(missing_ok=True)


def _sum_of(files: list[Path]) -> dict[str, float]:
    total: dict[str, float] = {}
    for path in files:
        with contextlib.suppress(FileNotFoundError):
            for name, value in _counters_in(path.read_text(errors="replace")):
                total[name] = total.get(name, 0.0) + value
    return total


def _counters_in(text: str) -> Iterator[tuple[str, float]]:
    for line in text.split("\n")[:-1]:  # what follows the last end of line is half written
        value, _, name = line.partition(" ")
        with contextlib.suppress(ValueError):
            yield name, float(value)


@contextlib.contextmanager
def _locked(directory: Path) -> Iterator[None]:
    descriptor = os.open(directory / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _directory(cache_directory: Path) -> Path:
    return cache_directory / "telemetry"


def _escaped(value: str) -> str:
    return value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
