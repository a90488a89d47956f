# SPDX-License-Identifier: BSD-3-Clause
"""What a gateway has to do with jobs: storms of submissions, and requests that it counted."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import pwd
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

from benchmarks import catalogs, installation, programs
from benchmarks.installation import CHECKOUT, SYSTEM, Installation, Served
from benchmarks.launch import as_user
from benchmarks.programs import BenchmarkError
from benchmarks.scale_storm import Order, Storm

RECORDS = 1000
REAL_SUBMISSIONS = 5
NO_REGISTRY = "http://127.0.0.1:9"
REQUESTS = "shifter_http_requests_total"
OBSERVING = 'route="show_metrics"'
TICKS = os.sysconf("SC_CLK_TCK")


@dataclasses.dataclass(frozen=True)
class Gateway:
    """A gateway that runs, and what its clients must know."""

    served: Served
    munge_socket: Path

    def requests(self) -> int:
        """How many it has answered, by its own count; reading the count is none."""
        with urllib.request.urlopen(f"{self.served.url}/metrics", timeout=10) as page:
            return requests_in(page.read().decode())

    def cpu_seconds(self) -> float:
        """What its processes have worked so far."""
        return sum(_cpu_seconds(pid) for pid in _tree(self.served.pid))


@dataclasses.dataclass(frozen=True)
class Played:
    """A storm, and what the gateway says of it."""

    submissions: int
    at_once: int
    storm: Storm
    requests: int
    cpu_seconds: float

    @property
    def failed(self) -> int:
        return self.submissions - len(self.storm.seconds)

    @property
    def per_second(self) -> float:
        return len(self.storm.seconds) / self.storm.elapsed


@dataclasses.dataclass(frozen=True)
class Submitted:
    """What `submission` itself costs where a user types sbatch, and how often it asks."""

    submissions: int
    requests: int
    cpu_seconds: float  # of each
    seconds: tuple[float, ...]


@contextlib.contextmanager
def running(work: Path, installed: Installation) -> Iterator[Gateway]:
    """An embedded gateway that has images, and udiRoot.conf names it."""
    with (
        programs.empty(work / "scale-gateway") as directory,
        installation.munge(work) as munge_socket,
    ):
        filled = directory / "filled.sqlite"
        catalogs.fill_sqlite(filled, RECORDS)
        with installation.gateway(
            installed,
            directory / "gateway",
            registry_url=NO_REGISTRY,
            munge_socket=munge_socket,
            images=directory / "images",
            catalog=filled,
        ) as served:
            yield Gateway(served, munge_socket)


def storm(gateway: Gateway, submissions: int, *, at_once: int) -> Played:
    """So many submissions, of which `at_once` wait for an answer at any time."""
    order = Order(
        port=int(gateway.served.url.rpartition(":")[2]),
        paths=[_path(number) for number in range(RECORDS)],
        munge_socket=str(gateway.munge_socket),
        submissions=submissions,
        at_once=at_once,
    )
    requests, cpu_seconds = gateway.requests(), gateway.cpu_seconds()
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.scale_storm"],
        input=json.dumps(dataclasses.asdict(order)),
        capture_output=True,
        text=True,
        check=False,
        cwd=CHECKOUT,
    )
    if done.returncode:
        raise BenchmarkError(f"a storm ended early: {done.stderr.strip()[-programs.TAIL :]}")
    return Played(
        submissions,
        at_once,
        Storm(**json.loads(done.stdout)),
        gateway.requests() - requests,
        gateway.cpu_seconds() - cpu_seconds,
    )


def submit(gateway: Gateway, installed: Installation, user: pwd.struct_passwd) -> Submitted:
    """The program that the plugin runs for sbatch, one after the other."""
    program = installed.prefix / "libexec" / "shifter" / "submission"
    command = [str(program), f"--image=docker:{catalogs.tag(0)}"]
    requests = gateway.requests()
    seconds, before = [], os.times()
    for _ in range(REAL_SUBMISSIONS):
        started = time.perf_counter()
        done = subprocess.run(command, capture_output=True, check=False, **as_user(user))
        seconds.append(time.perf_counter() - started)
        if done.returncode:
            raise BenchmarkError(done.stderr.decode(errors="replace").strip()[-programs.TAIL :])
    after = os.times()
    worked = after.children_user + after.children_system
    worked -= before.children_user + before.children_system
    return Submitted(
        REAL_SUBMISSIONS,
        gateway.requests() - requests,
        worked / REAL_SUBMISSIONS,
        tuple(seconds),
    )


def requests_in(page: str) -> int:
    """The requests that a page of /metrics counts, without those for such a page."""
    return sum(
        round(float(line.rpartition(" ")[2]))
        for line in page.splitlines()
        if line.startswith(REQUESTS) and OBSERVING not in line
    )


def _path(number: int) -> str:
    tag = catalogs.tag(number).replace("/", "%2F").replace(":", "%3A")
    return f"/api/lookup/{SYSTEM}/docker/{tag}/"


def _tree(pid: int) -> Iterator[int]:
    yield pid
    for task in Path(f"/proc/{pid}/task").iterdir():
        for child in (task / "children").read_text().split():
            yield from _tree(int(child))


def _cpu_seconds(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS
