# SPDX-License-Identifier: BSD-3-Clause
"""A production gateway: API processes and Celery workers of several systems, started one by one."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
import requests

from shifter_common import munge
from shifter_imagegw import config as configuration
from shifter_imagegw.catalog import Catalog
from shifter_imagegw.catalog.opening import open_catalog
from tests.integration.conftest import PushedImage, free_port, stop_process, wait_until
from tests.integration.production.gates import STAGES, Gates, gate_of

SYSTEMS = ("alpha", "beta")
PROGRAMS = Path(sys.executable).parent


class Site:
    """Its configuration, its processes by name, and a client of its API."""

    def __init__(
        self,
        directory: Path,
        gates: Gates,
        settings: dict[str, Any],
        munge_socket: Path | None = None,
    ) -> None:
        self.directory = directory
        self.gates = gates
        self.munge_socket = munge_socket
        self.port = free_port()
        self.processes: dict[str, subprocess.Popen[bytes]] = {}
        self.config_path = directory / "imagemanager.json"
        self.config_path.write_text(json.dumps(_config(directory, munge_socket) | settings))
        for system in SYSTEMS:
            self.image_dir(system).mkdir(exist_ok=True)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def image_dir(self, system: str) -> Path:
        return self.directory / f"images-{system}"

    def log(self, name: str) -> str:
        return (self.directory / f"{name}.log").read_text(errors="replace")

    def logs(self) -> str:
        return "".join(path.read_text(errors="replace") for path in self.directory.glob("*.log"))

    def start(self, name: str, command: Sequence[str | Path]) -> None:
        """Start a process of the gateway; its log is kept under `name`."""
        environment = self.gates.environment() | {"GWCONFIG": str(self.config_path)}
        with (self.directory / f"{name}.log").open("ab") as log:
            self.processes[name] = subprocess.Popen(
                command, stdout=log, stderr=log, env=environment, cwd=self.directory
            )

    def start_api(self, name: str = "api") -> None:
        self.start(
            name,
            [PROGRAMS / "shifter-gateway", "api", "--bind", f"127.0.0.1:{self.port}",
             "--processes", "2"],
        )  # fmt: skip
        self.wait_for_api(name)

    def wait_for_api(self, name: str = "api") -> None:
        wait_until(lambda: self._is_up(name), what=f"the API: {self.directory}/{name}.log")

    def start_worker(
        self, name: str, systems: Sequence[str] = SYSTEMS[:1], *, children: int = 6
    ) -> None:
        ready = self.directory / f"{name}.log"
        before = ready.read_text().count("ready.") if ready.exists() else 0
        self.start(
            name,
            [PROGRAMS / "celery", "-A", "shifter_imagegw.celery_app", "worker",
             "-Q", ",".join(systems), "-n", f"{name}@%h", "-c", str(children),
             "--without-mingle", "--without-gossip"],
        )  # fmt: skip
        wait_until(lambda: self._has_started(name, before), what=f"the worker: {ready}")

    def children(self, name: str) -> list[int]:
        pid = self.processes[name].pid
        return [int(x) for x in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]

    def kill(self, name: str) -> None:
        """End a process as a crash does; those that it started end by themselves."""
        children = self.children(name)
        self.processes[name].kill()
        self.processes.pop(name).wait()
        wait_until(lambda: not any(map(is_running, children)), what=f"the end of {name}'s children")

    def stop(self, name: str) -> float:
        """End a process in good order; how many seconds that took."""
        started = time.monotonic()
        stop_process(self.processes.pop(name), 60)
        return time.monotonic() - started

    def stop_all(self) -> None:
        for process in self.processes.values():
            process.terminate()
        for name in list(self.processes):
            self.stop(name)

    def open_catalog(self) -> contextlib.closing[Catalog]:
        return contextlib.closing(open_catalog(configuration.load(self.config_path)))

    def request(
        self, method: str, path: str, *, user: str = "alice:1001", payload: bytes = b""
    ) -> requests.Response:
        name, _, uid = user.partition(":")
        credential = f"good:{name}:{name}::{uid}:{uid}"
        if self.munge_socket is not None:
            credential = munge.encode(payload, socket=str(self.munge_socket))
        headers = {"authentication": credential}
        return requests.request(method, f"{self.url}{path}", headers=headers, timeout=30)

    def ask_for(
        self, image: PushedImage, system: str = SYSTEMS[0], **options: Any
    ) -> requests.Response:
        return self.request("POST", f"/api/pull/{system}/docker/{image.name}/", **options)

    def pull(self, image: PushedImage, system: str = SYSTEMS[0], **options: Any) -> dict[str, Any]:
        answer = self.ask_for(image, system, **options)
        assert answer.status_code == 200, answer.text
        return dict(answer.json())

    def wait(
        self, image: PushedImage, system: str = SYSTEMS[0], *, seconds: float = 30
    ) -> dict[str, Any]:
        """How a pull that was asked for has ended; it is not asked for again."""

        def ended() -> dict[str, Any] | None:
            answer = self.request("GET", f"/api/lookup/{system}/docker/{image.name}/")
            if answer.status_code == 200:
                return dict(answer.json())
            for pull in self.queue(system):
                if pull["image"] == image.name and pull["status"] == "FAILURE":
                    return pull
            return None

        return dict(wait_until(ended, seconds=seconds, what=f"{image.name} on {system}"))

    def queue(self, system: str = SYSTEMS[0]) -> list[dict[str, Any]]:
        return list(self.request("GET", f"/api/queue/{system}/").json()["list"])

    def starts(self, image: PushedImage) -> int:
        """How many times a worker has begun to pull an image."""
        return self._count("pull started", image)

    def assert_pulled_once(self, image: PushedImage, system: str = SYSTEMS[0]) -> None:
        """READY, one record, one image, nothing half-done, published by one worker once."""
        record = self.wait(image, system)
        assert record["status"] == "READY", record
        assert record["id"] == image.image_id
        with self.open_catalog() as catalog:
            records = [one for one in catalog.list_ready(system) if image.name in one.tags]
            assert len(records) == 1
        assert self._count("pull finished", image, system) == 1
        directory = self.image_dir(system)
        wait_until(
            lambda: not [path for path in directory.glob(f".{image.image_id}*")],
            seconds=30,
            what="the removal of partial files",
        )
        for suffix in ("squashfs", "meta"):
            assert (directory / f"{image.image_id}.{suffix}").is_file()

    def _count(self, event: str, image: PushedImage, system: str | None = None) -> int:
        lines = (json.loads(line) for line in self.logs().splitlines() if line.startswith("{"))
        return sum(
            line["event"] == event
            and line.get("image") == image.reference
            and system in (None, line.get("system"))
            for line in lines
        )

    def _is_up(self, name: str) -> bool:
        self._require_running(name)
        with contextlib.suppress(requests.ConnectionError):
            return requests.get(f"{self.url}/api/health/", timeout=5).status_code < 500
        return False

    def _has_started(self, name: str, before: int) -> bool:
        self._require_running(name)
        return self.log(name).count("ready.") > before

    def _require_running(self, name: str) -> None:
        if self.processes[name].poll() is not None:
            pytest.fail(f"{name} has ended:\n{self.log(name)[-3000:]}", pytrace=False)


@contextlib.contextmanager
def held_pulls(
    site: Site, push_new: Callable[..., PushedImage]
) -> Iterator[dict[str, PushedImage]]:
    """A pull at each stage; the gates are opened on the way out."""
    images = {stage: push_new(stage) for stage in STAGES}
    gates = {
        stage: gate_of(stage, image.name.partition(":")[0], image.image_id)
        for stage, image in images.items()
    }
    for gate in gates.values():
        site.gates.shut(gate)
    try:
        for image in images.values():
            site.pull(image)
        for gate in gates.values():
            wait_until(lambda gate=gate: site.gates.is_reached(gate), what=f"a pull at {gate}")
        yield images
    finally:
        for gate in gates.values():
            site.gates.open(gate)


def is_running(pid: int) -> bool:
    with contextlib.suppress(FileNotFoundError, ProcessLookupError):
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    return False


def kill_all(pids: Sequence[int]) -> None:
    for pid in pids:
        os.kill(pid, signal.SIGKILL)


def _config(directory: Path, munge_socket: Path | None) -> dict[str, Any]:
    return {
        "Authentication": "munge" if munge_socket else "mock",
        "DefaultImageLocation": "default",
        "DefaultImageFormat": "squashfs",
        "CacheDirectory": str(directory / "cache"),
        "LogFormat": "json",
        "Platforms": {
            system: {
                "accesstype": "local",
                "local": {"imageDir": str(directory / f"images-{system}")},
                "admins": ["root"],
                **({"mungeSocketPath": str(munge_socket)} if munge_socket else {}),
            }
            for system in SYSTEMS
        },
    }
