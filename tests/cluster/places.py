# SPDX-License-Identifier: BSD-3-Clause
"""Namespaces as places: where programs are started, and the one that all others end with."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from pyroute2 import IPRoute, netns

from tests.integration.conftest import require_program

# A tmpfs of the cluster's own, on a directory that every machine has.
PLACE = Path("/mnt")

BRIDGE = "bridge"
SAFE_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

Words = Sequence[str | Path]


@dataclasses.dataclass(frozen=True)
class Place:
    """The namespaces of processes: where a program finds its files, its network and its kin."""

    files: int
    network: int
    processes: int

    @classmethod
    def of(cls, pid: int) -> Place:
        return cls(pid, pid, pid)

    def command(self, words: Words, *, user: str = "root", cwd: str = "/") -> list[str]:
        become = []
        if user != "root":
            become = ["setpriv", f"--reuid={user}", f"--regid={user}", "--init-groups", "--"]
        return [
            require_program("nsenter"),
            *(f"--{kind}=/proc/{self.files}/ns/{file}" for kind, file in _WITH_FILES),
            f"--net=/proc/{self.network}/ns/net",
            f"--pid=/proc/{self.processes}/ns/pid",
            "--wdns=/",
            "--",
            *become,
            *(["env", f"--chdir={cwd}", "--"] if cwd != "/" else []),  # where root may not go
            *map(str, words),
        ]

    def start(
        self,
        *words: str | Path,
        user: str = "root",
        cwd: str = "/",
        env: Mapping[str, str] | None = None,
        **options: Any,
    ) -> subprocess.Popen[Any]:
        """Start a program with this environment and no other variable but PATH."""
        return subprocess.Popen(
            self.command(words, user=user, cwd=cwd),
            env={"PATH": SAFE_PATH} | dict(env or {}),
            **({"stdin": subprocess.DEVNULL} | options),
        )

    def run(
        self, *words: str | Path, timeout: float = 60, **options: Any
    ) -> subprocess.CompletedProcess[str]:
        """Run a program to its end, or to its death when the time is up."""
        # To kill nsenter would leave what it has started.
        limit = ["timeout", "--kill-after=5", str(timeout)]
        process = self.start(
            *limit, *words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, **options
        )
        return finish(process, words)


def finish(
    process: subprocess.Popen[Any], words: Words, text: str | None = None
) -> subprocess.CompletedProcess[str]:
    """Give a program this input, and wait for its output, of which no byte is changed."""
    given = None if text is None else os.fsencode(text)
    stdout, stderr = map(os.fsdecode, process.communicate(given))
    return subprocess.CompletedProcess(words, process.returncode, stdout, stderr)


_WITH_FILES = (("mount", "mnt"), ("uts", "uts"), ("ipc", "ipc"))


class World:
    """What a cluster is in: processes, mounts and a network that end with the tests."""

    def __init__(self) -> None:
        script = (
            f"mount -t tmpfs -o mode=755 cluster {PLACE} && ip link set lo up && echo ready; read _"
        )
        self._process = subprocess.Popen(
            ["unshare", "--mount", "--net", "--pid", "--fork", "--kill-child"]
            + ["bash", "-c", script],  # which reaps what is left to it
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd="/", env={"PATH": SAFE_PATH},
        )  # fmt: skip
        self._kept: list[subprocess.Popen[Any]] = []
        assert self._process.stdout is not None
        assert self._process.stdout.readline() == b"ready\n", "no namespaces: the tests need root"
        unshare = self._process.pid
        self.pid = int(Path(f"/proc/{unshare}/task/{unshare}/children").read_text())
        self.place = Place.of(self.pid)
        with inside(self.pid), IPRoute() as routes:
            routes.link("add", ifname=BRIDGE, kind="bridge")
            routes.link("set", index=_index(routes, BRIDGE), state="up")

    @property
    def directory(self) -> Path:
        """What the cluster has as PLACE, seen from the tests."""
        return Path(f"/proc/{self.pid}/root") / PLACE.relative_to("/")

    def connect(self, pid: int, address: str) -> None:
        """Plug the network of a process into the bridge."""
        with inside(self.pid), IPRoute() as routes:
            port = f"port{address.rpartition('.')[2]}"
            peer = {"ifname": "eth0", "net_ns_pid": pid}
            routes.link("add", ifname=port, kind="veth", peer=peer)
            routes.link(
                "set", index=_index(routes, port), state="up", master=_index(routes, BRIDGE)
            )
        with inside(pid), IPRoute() as routes:
            routes.addr("add", index=_index(routes, "eth0"), address=address, prefixlen=24)
            for interface in ("eth0", "lo"):
                routes.link("set", index=_index(routes, interface), state="up")

    def keep(self, process: subprocess.Popen[Any]) -> subprocess.Popen[Any]:
        """Wait for this one, too, when all end."""
        self._kept.append(process)
        return process

    def close(self) -> None:
        self._process.communicate()
        for process in self._kept:
            process.wait()


@contextlib.contextmanager
def inside(pid: int) -> Iterator[None]:
    """Have this thread make its sockets in the network of a process."""
    home = os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
    there = os.open(f"/proc/{pid}/ns/net", os.O_RDONLY | os.O_CLOEXEC)
    try:
        netns.setns(there)
        yield
    finally:
        netns.setns(home)
        os.close(there)
        os.close(home)


def _index(routes: IPRoute, interface: str) -> int:
    return int(routes.link_lookup(ifname=interface)[0])
