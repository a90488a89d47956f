# SPDX-License-Identifier: BSD-3-Clause
"""The control node's registry and image gateway: MongoDB, Redis, API and a Celery worker."""

from __future__ import annotations

import json
import os
import re
import subprocess
from pathlib import Path

import pytest
import requests

from shifter_imagegw.credentials import new_key
from tests.cluster.accounts import GATEWAY
from tests.cluster.node import Node
from tests.cluster.places import PLACE, Place, World, inside
from tests.integration.conftest import Registry, require_program, wait_until
from tests.integration.registry.real_registry import Authority
from tests.mongodb import find_mongod

SYSTEM = "cluster"
URL = "http://ctl:5000"

# Whoever needs a registry with passwords starts one of this name on the control node, with the
# certificate and the key of its name that are beside the configuration.
PRIVATE_REGISTRY, PRIVATE_DIRECTORY = "registry.example.org", "registry"
_AUTHORITY = f"{PRIVATE_DIRECTORY}/public/ca.crt"

_MONGO, _REDIS, _REGISTRY, _API = 27017, 6379, 5001, 5000


class Gateway:
    """What runs on the control node for images; `start` brings it up, `stop_api` takes it away."""

    def __init__(self, world: World, control: Node) -> None:
        self.world = world
        self.control = control
        # Their files are this machine's: mongod may be anywhere on it.
        self._services = Place(files=world.pid, network=control.pid, processes=control.pid)
        self.processes: dict[str, subprocess.Popen[bytes]] = {}
        self.registry = Registry(
            f"http://127.0.0.1:{_REGISTRY}", world.directory / "registry", None
        )  # type: ignore[arg-type]

    def start_services(self) -> None:
        """Start what the gateway builds upon; `start` waits for it."""
        directory = self.world.directory
        for name in ("mongo", "redis", "registry"):
            (directory / name).mkdir()
        (directory / "registry.yml").write_text(json.dumps(_REGISTRY_CONFIG))  # JSON is YAML
        self._start_service(
            find_mongod(), "--dbpath", PLACE / "mongo", "--bind_ip", "127.0.0.1", "--port",
            str(_MONGO), "--nounixsocket", "--wiredTigerCacheSizeGB", "0.25",
            "--setParameter", "diagnosticDataCollectionEnabled=false",
            "--wiredTigerEngineConfigString", "log=(prealloc=false,file_max=8MB)",
        )  # fmt: skip
        self._start_service(
            require_program("redis-server"), "--port", str(_REDIS), "--bind", "127.0.0.1",
            "--dir", PLACE / "redis", "--save", "", "--appendonly", "yes",
        )  # fmt: skip
        self._start_service(require_program("docker-registry"), "serve", PLACE / "registry.yml")

    def start(self) -> None:
        for port in (_MONGO, _REDIS, _REGISTRY):
            wait_until(lambda port=port: self._listens(port), what=f"port {port} of ctl")
        self.start_api()
        self.control.start_daemon(
            self.control.prefix / "venv/bin/celery", "-q", "-A", "shifter_imagegw.celery_app",
            "worker", "-Q", SYSTEM, "-n", f"{SYSTEM}@%h", "-c", "2", "--without-gossip",
            "--without-mingle", user="shifter", env=self._environment(),
        )  # fmt: skip

    def start_api(self) -> None:
        self.control.start_daemon(
            self.control.prefix / "bin/shifter-gateway", "api", "--bind", f"0.0.0.0:{_API}",
            "--processes", "1", user="shifter", env=self._environment(),
        )  # fmt: skip

    def wait_until_ready(self) -> None:
        wait_until(self._is_up, seconds=60, what="the gateway's API")
        celery = self.control.log_directory / "celery"
        wait_until(lambda: "ready." in celery.read_text(), seconds=60, what="the gateway's worker")

    def stop_api(self) -> None:
        """End the API; the worker goes on."""
        self.control.kill(self.control.pids(self._api_command()))
        self.control.daemons.pop("shifter-gateway").wait()

    def lookups(self) -> int:
        """How many lookups have been answered since the API was started first."""
        with inside(self.control.pid):
            page = requests.get(f"http://127.0.0.1:{_API}/metrics", timeout=10).text
        found = re.findall(r'^shifter_http_requests_total{[^}]*"lookup"[^}]*} (\d+)', page, re.M)
        return sum(map(int, found))

    def _api_command(self) -> str:
        return f"{self.control.prefix}/venv/bin/python -I {self.control.prefix}/bin/shifter-gateway"

    def _environment(self) -> dict[str, str]:
        return {"GWCONFIG": str(self.control.prefix / "etc/imagemanager.json"), "HOME": "/"}

    def _start_service(self, program: str, *words: str | Path) -> None:
        name = Path(program).name
        with (self.control.log_directory / name).open("ab") as log:
            process = self._services.start(program, *words, stdout=log, stderr=log)
        self.processes[name] = self.world.keep(process)

    def _listens(self, port: int) -> bool:
        for name, process in self.processes.items():
            if process.poll() is not None:
                pytest.fail(f"{name} has ended:\n{self.control.log(name)[-3000:]}", pytrace=False)
        table = Path(f"/proc/{self.control.pid}/net/tcp").read_text()
        return f":{port:04X} 00000000:0000 0A" in table

    def _is_up(self) -> bool:
        if self.control.daemons["shifter-gateway"].poll() is not None:
            log = self.control.log("shifter-gateway")
            pytest.fail(f"the API has ended:\n{log[-3000:]}", pytrace=False)
        try:
            with inside(self.control.pid):
                return requests.get(f"http://127.0.0.1:{_API}/readyz", timeout=5).status_code == 200
        except requests.ConnectionError:
            return False


_REGISTRY_CONFIG = {
    "version": "0.1",
    "log": {"level": "warn", "accesslog": {"disabled": True}},
    "storage": {"filesystem": {"rootdirectory": f"{PLACE}/registry"}, "delete": {"enabled": True}},
    "http": {"addr": f"127.0.0.1:{_REGISTRY}"},
}


def write_config(directory: Path, prefix: Path) -> None:
    """imagemanager.json and its key, which only the gateway's account reads."""
    (directory / PRIVATE_DIRECTORY).mkdir()
    Authority.create(directory / PRIVATE_DIRECTORY).issue(PRIVATE_REGISTRY)
    config = {
        "MongoDBURI": f"mongodb://127.0.0.1:{_MONGO}/",
        "MongoDB": "Shifter",
        "Broker": f"redis://127.0.0.1:{_REDIS}/0",
        "KeyFile": f"{prefix}/etc/gateway.key",
        "DefaultImageLocation": "default",
        "DefaultImageFormat": "squashfs",
        "CacheDirectory": "/var/lib/shifter/cache",
        "ExpandDirectory": "/var/lib/shifter/expand",
        "PullUpdateTimeout": 0,
        "LogFormat": "json",
        "ImportUsers": "all",
        "Metrics": True,
        "Locations": {
            "default": {"remotetype": "dockerv2", "url": f"http://127.0.0.1:{_REGISTRY}"},
            PRIVATE_REGISTRY: {"authMethod": "basic", "sslcacert": f"{prefix}/etc/{_AUTHORITY}"},
        },
        "Platforms": {
            SYSTEM: {
                "mungeSocketPath": "/run/munge/munge.socket.2",
                "accesstype": "local",
                "admins": ["root"],
                "local": {"imageDir": "/global/images"},
            }
        },
    }
    for name, text in (("imagemanager.json", json.dumps(config)), ("gateway.key", new_key())):
        path = directory / name
        path.write_text(text)
        os.chown(path, GATEWAY, GATEWAY)
        path.chmod(0o600)
