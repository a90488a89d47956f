# SPDX-License-Identifier: BSD-3-Clause
"""How many lookups a second the gateway answers, with many records and munge on."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from benchmarks import catalogs, installation, production, programs
from benchmarks.installation import CHECKOUT, SYSTEM, Installation, Served
from benchmarks.load import Order
from benchmarks.programs import BenchmarkError
from benchmarks.report import Budget, Measurement, Report

FASTEST = "lookup, as fast as it is answered"
HALF = "lookup, at half that rate"
ROOT = "GET / (no credential read, no catalog)"
CATALOGS = {
    "sqlite": "embedded gateway, SQLite catalog",
    "mongodb": "gunicorn, MongoDB catalog",
}
ORIGINAL = {1_000: 140.0, 10_000: 92.0}  # lookups a second, by the number of records
NO_REGISTRY = "http://127.0.0.1:9"
STARTING = 1.0  # seconds for all clients to be there


@dataclasses.dataclass(frozen=True, kw_only=True)
class Lookups:
    """What one run of the benchmark shares."""

    work: Path
    installation: Installation
    catalog: str  # a name of CATALOGS
    records: int
    clients: int  # processes, each with one connection
    seconds: float  # of each measurement


def measure(lookups: Lookups) -> Report:
    """Serve a catalog of that size and ask for images in it by chance."""
    with (
        programs.empty(lookups.work / "lookup") as directory,
        installation.munge(lookups.work) as munge_socket,
        _served(lookups, directory, munge_socket) as served,
    ):
        order = Order(
            port=int(served.url.rpartition(":")[2]),
            paths=[_path(number) for number in range(lookups.records)],
            munge_socket=str(munge_socket),
            seconds=lookups.seconds,
        )
        _asked(order, lookups.clients, warming=True)
        fastest = _measured(FASTEST, order, lookups.clients)
        rate = (fastest.per_second or 0) / 2
        half = dataclasses.replace(order, rate=rate / lookups.clients)
        at_half = _measured(HALF, half, lookups.clients)
        root = _measured(ROOT, dataclasses.replace(order, paths=["/"]), lookups.clients)
    p99 = at_half.percentile(99)
    return Report(
        title="lookup: GET /api/lookup with a new munge credential each time, "
        f"{CATALOGS[lookups.catalog]}",
        ours=FASTEST,
        measurements=(fastest, at_half, root, *_of_the_original(lookups.records)),
        budgets=(
            Budget(
                text="lookups per second, load generator included",
                limit=1000,
                measured=fastest.per_second,
                at_least=True,
            ),
            Budget(
                text="ms, 99th percentile at half that rate",
                limit=30,
                measured=None if p99 is None else p99 * 1000,
            ),
        ),
        facts={"records": lookups.records, "clients": lookups.clients},
    )


@contextlib.contextmanager
def _served(lookups: Lookups, directory: Path, munge_socket: Path) -> Iterator[Served]:
    """The gateway that goes with the catalog; nothing is fetched by it."""
    if lookups.catalog == "mongodb":
        with production.gateway(
            lookups.installation,
            directory / "gateway",
            registry_url=NO_REGISTRY,
            munge_socket=munge_socket,
            images=directory / "images",
            fill=lambda uri: catalogs.fill_mongodb(uri, lookups.records),
            workers=0,
        ) as served:
            yield served
        return
    filled = directory / "filled.sqlite"
    catalogs.fill_sqlite(filled, lookups.records)
    with installation.gateway(
        lookups.installation,
        directory / "gateway",
        registry_url=NO_REGISTRY,
        munge_socket=munge_socket,
        images=directory / "images",
        catalog=filled,
    ) as served:
        yield served


def _of_the_original(records: int) -> tuple[Measurement, ...]:
    """What was measured of it once, for context: not on this machine."""
    known = ORIGINAL.get(records)
    if known is None:
        return ()
    note = "measured once, elsewhere, on two cores"
    return (Measurement(name="the original", per_second=known, note=note),)


def _path(number: int) -> str:
    tag = catalogs.tag(number).replace("/", "%2F").replace(":", "%3A")
    return f"/api/lookup/{SYSTEM}/docker/{tag}/"


def _measured(name: str, order: Order, clients: int) -> Measurement:
    seconds = _asked(order, clients)
    return Measurement(name=name, seconds=tuple(seconds), per_second=len(seconds) / order.seconds)


def _asked(order: Order, clients: int, *, warming: bool = False) -> Sequence[float]:
    """The seconds of every request of all clients, which run at the same time."""
    seconds_each = min(order.seconds, 1.0) if warming else order.seconds
    begin = time.monotonic() + STARTING
    order = dataclasses.replace(order, seconds=seconds_each, begin=begin)
    processes = [
        subprocess.Popen(
            [sys.executable, "-m", "benchmarks.load"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            cwd=CHECKOUT,
        )
        for _ in range(clients)
    ]
    try:
        return _answers(processes, order)
    finally:
        for process in processes:
            process.kill()


def _answers(processes: Sequence[subprocess.Popen[str]], order: Order) -> Sequence[float]:
    """Give each client its order, then collect what each has measured."""
    for seed, process in enumerate(processes):
        assert process.stdin
        json.dump(dataclasses.asdict(dataclasses.replace(order, seed=seed)), process.stdin)
        process.stdin.close()
        process.stdin = None
    seconds: list[float] = []
    for process in processes:
        answered, complaint = process.communicate()
        if process.returncode:
            raise BenchmarkError(f"a client of the gateway failed: {complaint.strip()}")
        seconds += json.loads(answered)
    return seconds
