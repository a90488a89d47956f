# SPDX-License-Identifier: BSD-3-Clause
"""From a registry to one image file that is ready: ours, what others do, and the floor under all.

Every repetition begins with empty caches of its own, everything written to disk, and the
registry's blobs in the page cache.
"""

from __future__ import annotations

import contextlib
import dataclasses
import os
import statistics
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from benchmarks import image as images
from benchmarks import installation, memory, production, programs, registry
from benchmarks.image import Image
from benchmarks.installation import CHECKOUT, Installation, Served
from benchmarks.memory import MemoryWatch
from benchmarks.programs import BenchmarkError, Cost
from benchmarks.registry import Registry
from benchmarks.report import MEBIBYTE, Budget, Measurement, Report

GATEWAY = "shifterimg pull, until READY"
PRODUCTION = "the same with Celery, Redis, MongoDB"
PIPELINE = "the pipeline alone"
ORIGINAL = "original: tarfile, mksquashfs gzip"
PODMAN = "podman, mksquashfs zstd"
FLOOR = "floor: download, check, gunzip, merge"
WORKER_MEMORY = 200 * MEBIBYTE

# What each name runs, the programs that it needs, and whether it is repeated.
Contender = tuple[str, str, tuple[str, ...], bool]
CONTENDERS: dict[str, Contender] = {
    PIPELINE: ("pipeline", "pipeline", ("tar2sqfs",), True),
    ORIGINAL: ("peers", "original", ("mksquashfs", "sha256sum"), False),
    "skopeo, umoci, mksquashfs gzip": (
        *("peers", "umoci", ("skopeo", "umoci", "mksquashfs")),
        False,
    ),
    PODMAN: ("peers", "podman", ("podman", "mksquashfs"), False),
    "podman, mksquashfs zstd level 1": (
        *("peers", "podman-fast", ("podman", "mksquashfs")),
        False,
    ),
    FLOOR: ("pipeline", "floor", (), True),
    "lower floor: download, check, gunzip": ("pipeline", "gunzip", (), True),
}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Pulls:
    """What one run of the benchmark shares."""

    work: Path
    installation: Installation
    scale: float
    repetitions: int
    peer_repetitions: int
    only_ours: bool = False


@dataclasses.dataclass(frozen=True, kw_only=True)
class _Source:
    """Where every contender pulls from."""

    registry: Registry
    image: Image

    @property
    def name(self) -> str:
        return f"{self.image.repository}:{self.image.registry_tag}"

    def settle(self) -> None:
        """Write out what the last one left, and read what the next will ask for."""
        os.sync()
        for layer in self.image.layers:
            self.registry.read_blob(self.image.repository, layer.digest)


def measure(pulls: Pulls) -> Report:
    """Every contender one after the other."""
    with registry.running(pulls.work) as running:
        image = images.in_registry(running, pulls.scale, pulls.work)
        source = _Source(registry=running, image=image)
        ours = _through_gateway(GATEWAY, installation.gateway, pulls, source)
        theirs = _through_gateway(PRODUCTION, production.gateway, pulls, source)
        measurements = [ours.measurement, theirs.measurement]
        for name, contender in CONTENDERS.items():
            if not pulls.only_ours or contender[0] == "pipeline":
                measurements.append(_contend(name, contender, pulls, source))
    report = Report(
        title="pull: from a registry on this machine to one finished squashfs file",
        ours=GATEWAY,
        measurements=tuple(measurements),
        facts=image.facts | ours.facts("the worker") | theirs.facts("Celery's child"),
    )
    return dataclasses.replace(report, budgets=_budgets(report, ours, theirs))


def _budgets(report: Report, ours: _Through, theirs: _Through) -> tuple[Budget, ...]:
    def to(name: str) -> float | None:
        ratio = report.ratio(name)
        return 1 / ratio if ratio else None

    return (
        Budget(text="ours as a part of the original's path", limit=1 / 15, measured=to(ORIGINAL)),
        Budget(
            text="ours as a part of podman and mksquashfs zstd", limit=1 / 5, measured=to(PODMAN)
        ),
        Budget(text="ours as a multiple of the floor", limit=2, measured=to(FLOOR)),
        Budget(
            text="MiB, worker and converter together",
            limit=WORKER_MEMORY / MEBIBYTE,
            measured=ours.mebibytes,
        ),
        Budget(
            text="MiB, Celery's child and converter together",
            limit=WORKER_MEMORY / MEBIBYTE,
            measured=theirs.mebibytes,
        ),
    )


@dataclasses.dataclass(frozen=True)
class _Through:
    """What a user waits for, and the peak memory of worker and converter, in bytes."""

    measurement: Measurement
    worker: int | None = None
    converter: int | None = None

    @property
    def mebibytes(self) -> float | None:
        return None if self.worker is None else (self.worker + (self.converter or 0)) / MEBIBYTE

    def facts(self, called: str) -> dict[str, str | int | float]:
        facts: dict[str, str | int | float] = {}
        if self.worker is not None:
            facts[f"peak MiB of {called}"] = round(self.worker / MEBIBYTE)
        if self.converter is not None:
            facts[f"peak MiB of tar2sqfs below {called}"] = round(self.converter / MEBIBYTE)
        return facts


Serve = Callable[..., contextlib.AbstractContextManager[Served]]


def _through_gateway(name: str, serve: Serve, pulls: Pulls, source: _Source) -> _Through:
    costs, watches = [], []
    try:
        with installation.munge(pulls.work) as munge_socket:
            for _ in range(pulls.repetitions):
                with programs.empty(pulls.work / "gateway") as directory:
                    cost, watch = _pull(serve, pulls, source, directory, munge_socket)
                    costs.append(cost)
                    watches.append(watch)
    except BenchmarkError as error:
        return _Through(Measurement(name=name, note=str(error)))
    converter = _peak([one.peak for watch in watches for one in watch.named("tar2sqfs")])
    worker = _peak(
        [one.peak for watch in watches for one in watch.parents_of(watch.named("tar2sqfs"))]
    )
    seconds = tuple(cost.seconds for cost in costs)
    largest = max(watch.largest() for watch in watches)
    measurement = Measurement(name=name, seconds=seconds, peak_memory=largest)
    return _Through(measurement, worker, converter)


def _pull(
    serve: Serve, pulls: Pulls, source: _Source, directory: Path, munge_socket: Path
) -> tuple[Cost, MemoryWatch]:
    """One pull by a gateway that has never seen the image."""
    ours = pulls.installation
    with serve(
        ours,
        directory / "gateway",
        registry_url=source.registry.url,
        munge_socket=munge_socket,
        images=directory / "images",
    ) as served:
        ours.configure(directory / "images", gateway_url=served.url, munge_socket=munge_socket)
        source.settle()
        with memory.watching(served.pid) as watch:
            command = (ours.shifterimg, "pull", f"docker:{source.name}")
            cost = programs.measure(command, directory / "shifterimg.log")
    _require_image(directory / "images" / f"{source.image.digest.partition(':')[2]}.squashfs")
    return cost, watch


def _contend(name: str, contender: Contender, pulls: Pulls, source: _Source) -> Measurement:
    """A contender that runs as one program of the harness."""
    module, entry, needs, repeated = contender
    if absent := programs.missing(*needs):
        return Measurement(name=name, note=absent)
    costs = []
    try:
        for _ in range(pulls.repetitions if repeated else pulls.peer_repetitions):
            with programs.empty(pulls.work / "contender") as directory:
                source.settle()
                costs.append(_run(module, entry, source, directory))
    except BenchmarkError as error:
        return Measurement(name=name, note=str(error))
    return Measurement(
        name=name,
        seconds=tuple(cost.seconds for cost in costs),
        cpu_seconds=statistics.median(cost.cpu_seconds for cost in costs),
        peak_memory=max(cost.peak_memory for cost in costs),
    )


def _run(module: str, entry: str, source: _Source, directory: Path) -> Cost:
    arguments = (entry, source.registry.address, source.name, directory)
    cost = programs.measure(
        [sys.executable, "-m", f"benchmarks.{module}", *arguments],
        directory / "contender.log",
        directory=CHECKOUT,
    )
    if entry not in ("floor", "gunzip"):
        _require_image(directory / "image.squashfs")
    return cost


def _require_image(path: Path) -> None:
    """A contender that is fast because it made nothing has not been measured."""
    if not path.exists() or path.stat().st_size == 0:
        raise BenchmarkError(f"it ended well but left no image at {path.name}")


def _peak(values: Sequence[int]) -> int | None:
    return max(values, default=None)
