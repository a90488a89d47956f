# SPDX-License-Identifier: BSD-3-Clause
"""How many lookups a second the gateway answers, with many records and munge on."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path

from benchmarks import installation, programs
from benchmarks.installation import CHECKOUT, SYSTEM, Installation
from benchmarks.load import Order
from benchmarks.programs import BenchmarkError
from benchmarks.report import Budget, Measurement, Report
from shifter_imagegw.catalog.sqlite import SqliteCatalog
from shifter_imagegw.records import NewPull, PublishedImage

FASTEST = "lookup, as fast as it is answered"
HALF = "lookup, at half that rate"
ROOT = "GET / (no credential read, no catalog)"
STARTING = 1.0  # seconds for all clients to be there
MEMORY = Path("/dev/shm")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Lookups:
    """What one run of the benchmark shares."""

    work: Path
    installation: Installation
    records: int
    clients: int  # processes, each with one connection
    seconds: float  # of each measurement


def measure(lookups: Lookups) -> Report:
    """Serve a catalog of that size and ask for images in it by chance."""
    catalog = lookups.work / "filled.sqlite"
    fill(catalog, lookups.records)
    with (
        programs.empty(lookups.work / "lookup") as directory,
        installation.munge(lookups.work) as munge_socket,
        installation.gateway(
            lookups.installation,
            directory / "gateway",
            registry_url="http://127.0.0.1:9",  # nothing is fetched
            munge_socket=munge_socket,
            images=directory / "images",
            catalog=catalog,
        ) as (url, _),
    ):
        order = Order(
            port=int(url.rpartition(":")[2]),
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
        title="lookup: GET /api/lookup with a new munge credential each time, SQLite catalog",
        ours=FASTEST,
        measurements=(fastest, at_half, root),
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


def fill(path: Path, records: int) -> None:
    """A catalog with so many READY images, made in memory because each step waits for its disk."""
    with tempfile.TemporaryDirectory(dir=MEMORY if MEMORY.is_dir() else None) as directory:
        made = Path(directory, "catalog.sqlite")
        catalog = SqliteCatalog(made)
        for number in range(records):
            _add(catalog, number)
        catalog.close()
        shutil.copyfile(made, path)


def _add(catalog: SqliteCatalog, number: int) -> None:
    now = time.time()
    pull = NewPull(system=SYSTEM, image_type="docker", pull_tag=_tag(number), format="squashfs")
    catalog.add_pull(pull, now)
    claim = catalog.claim([SYSTEM], "benchmark", timedelta(minutes=1), now)
    if claim is None:
        raise BenchmarkError(f"the catalog gave no claim on its pull number {number}")
    catalog.publish(claim, _published(number), now)


def _published(number: int) -> PublishedImage:
    return PublishedImage(
        image_id=hashlib.sha256(str(number).encode()).hexdigest(),
        format="squashfs",
        architecture="amd64",
        os="linux",
        private=False,
        env=("PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "LANG=C.UTF-8"),
        entry=("/usr/local/bin/entrypoint",),
        command=("python3",),
        workdir="/srv",
        labels=None,
        size=1 << 30,
        expiration=None,
    )


def _tag(number: int) -> str:
    return f"group{number % 97}/image{number}:v{number % 7}"


def _path(number: int) -> str:
    return f"/api/lookup/{SYSTEM}/docker/{_tag(number).replace('/', '%2F').replace(':', '%3A')}/"


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
