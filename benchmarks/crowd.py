# SPDX-License-Identifier: BSD-3-Clause
"""How long until each of many clients that pull one image at once has it, and what it cost."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from benchmarks import image as images
from benchmarks import installation, memory, production, programs, registry
from benchmarks.image import Image
from benchmarks.installation import CHECKOUT, SYSTEM, Installation, Served
from benchmarks.memory import MemoryWatch
from benchmarks.programs import BenchmarkError
from benchmarks.puller import Order, Outcome
from benchmarks.registry import Registry
from benchmarks.report import MEBIBYTE, Budget, Measurement, Report

ALONE = "one client"
CROWD = "all at once"
STARTING = 3.0  # seconds for all clients to be there
PROCESSES = 4  # that the clients are spread over
WORKER_MEMORY = 200 * MEBIBYTE
_STARTED = re.compile(r"\bpull started\b")

Serve = Callable[..., contextlib.AbstractContextManager[Served]]
GATEWAYS: dict[str, tuple[str, Serve]] = {
    "sqlite": ("embedded gateway, SQLite catalog", installation.gateway),
    "mongodb": ("gunicorn, Celery, Redis, MongoDB", production.gateway),
}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Crowd:
    """What one run of the benchmark shares."""

    work: Path
    installation: Installation
    catalog: str  # a name of GATEWAYS
    clients: int
    scale: float  # of the image


@dataclasses.dataclass(frozen=True)
class _Pulled:
    """One pull by some clients of a gateway that has never seen the image."""

    outcomes: tuple[Outcome, ...]
    conversions: int
    watch: MemoryWatch

    @property
    def seconds(self) -> tuple[float, ...]:
        return tuple(one.seconds for one in self.outcomes if one.seconds is not None)

    @property
    def worker(self) -> int | None:
        """Bytes, of the worker and of what it had convert, at their peaks."""
        converters = self.watch.named("tar2sqfs")
        workers = self.watch.parents_of(converters)
        peaks = [max((one.peak for one in many), default=0) for many in (workers, converters)]
        return sum(peaks) or None

    def as_measurement(self, name: str) -> Measurement:
        failures = [one.failure for one in self.outcomes if one.failure]
        note = f"{len(failures)} failed: {min(failures)}" if failures else ""
        return Measurement(name=name, seconds=self.seconds, note=note)


def measure(crowd: Crowd) -> Report:
    """The same image by one client, then by all; the gateway is new to it each time."""
    title, serve = GATEWAYS[crowd.catalog]
    with registry.running(crowd.work) as running, installation.munge(crowd.work) as munge_socket:
        image = images.in_registry(running, crowd.scale, crowd.work)
        pulled = {
            name: _pulled(crowd, serve, running, image, munge_socket, clients)
            for name, clients in ((ALONE, 1), (CROWD, crowd.clients))
        }
    return Report(
        title=f"crowd: {crowd.clients} clients pull one image at once; {title}",
        ours=ALONE,
        measurements=tuple(one.as_measurement(name) for name, one in pulled.items()),
        budgets=_budgets(crowd.clients, pulled[CROWD]),
        facts=image.facts | {"processes of clients": PROCESSES} | _last(pulled),
    )


def _last(pulled: dict[str, _Pulled]) -> dict[str, str | int | float]:
    """The clients ask again a few times a second: the last one was told at most that late."""
    return {
        f"seconds until the last of: {name}": round(max(one.seconds), 2)
        for name, one in pulled.items()
        if one.seconds
    }


def _budgets(clients: int, crowd: _Pulled) -> tuple[Budget, ...]:
    worker = crowd.worker
    return (
        Budget(
            text="clients that saw READY",
            limit=clients,
            measured=len(crowd.seconds),
            at_least=True,
        ),
        Budget(text="conversions", limit=1, measured=crowd.conversions),
        Budget(
            text="MiB, worker and converter together",
            limit=WORKER_MEMORY / MEBIBYTE,
            measured=None if worker is None else worker / MEBIBYTE,
        ),
    )


def _pulled(
    crowd: Crowd,
    serve: Serve,
    source: Registry,
    image: Image,
    munge_socket: Path,
    clients: int,
) -> _Pulled:
    with (
        programs.empty(crowd.work / "crowd") as directory,
        serve(
            crowd.installation,
            directory / "gateway",
            registry_url=source.url,
            munge_socket=munge_socket,
            images=directory / "images",
        ) as served,
        memory.watching(served.pid) as watch,
    ):
        order = Order(
            url=served.url,
            system=SYSTEM,
            image=f"docker:{image.repository}:{image.registry_tag}",
            munge_socket=str(munge_socket),
            clients=clients,
            begin=time.monotonic() + STARTING,
        )
        outcomes = tuple(_outcomes(order))
        return _Pulled(outcomes, conversions_in(served.logs), watch)


def shares_of(clients: int, processes: int) -> list[int]:
    """How many clients each process gets: as evenly as can be, and none where there are few."""
    each, more = divmod(clients, processes)
    shares = [each + (number < more) for number in range(processes)]
    return [share for share in shares if share]


def conversions_in(logs: Iterable[Path]) -> int:
    """How many times a worker has begun."""
    return sum(len(_STARTED.findall(log.read_text(errors="replace"))) for log in logs)


def _outcomes(order: Order) -> list[Outcome]:
    processes = [_start(order, share) for share in shares_of(order.clients, PROCESSES)]
    try:
        return [outcome for process in processes for outcome in _told(process)]
    finally:
        for process in processes:
            process.kill()


def _start(order: Order, clients: int) -> subprocess.Popen[str]:
    process = subprocess.Popen(
        [sys.executable, "-m", "benchmarks.puller"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=CHECKOUT,
    )
    assert process.stdin
    json.dump(dataclasses.asdict(dataclasses.replace(order, clients=clients)), process.stdin)
    process.stdin.close()
    process.stdin = None
    return process


def _told(process: subprocess.Popen[str]) -> Sequence[Outcome]:
    said, complaint = process.communicate()
    if process.returncode:
        raise BenchmarkError(f"the clients failed: {complaint.strip()}")
    return [Outcome(**one) for one in json.loads(said)]
