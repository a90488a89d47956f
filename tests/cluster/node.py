# SPDX-License-Identifier: BSD-3-Clause
"""A node: what it runs, what is mounted there, its end and its return."""

from __future__ import annotations

import os
import signal
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.cluster.places import PLACE, Place, World
from tests.integration.conftest import wait_until

GLOBAL = Path("/global")

_SHIFTERS = ("/var/udiMount", "/var/loopMount", "/run/shifter")
_OF_JOBS = ("/run/shifter/udi", "/run/shifter/jobs")
_SLURMD_PORT = 6818

_SCRIPT = Path(__file__).with_name("node.sh")


class Node:
    """Namespaces whose first process reaps, and the daemons that a node has."""

    def __init__(self, world: World, name: str, address: str, prefix: Path) -> None:
        self.world = world
        self.name = name
        self.address = address
        self.prefix = prefix
        self.pid = 0
        self.daemons: dict[str, subprocess.Popen[bytes]] = {}
        self._unshare: subprocess.Popen[bytes] | None = None

    @property
    def place(self) -> Place:
        return Place.of(self.pid)

    @property
    def root(self) -> Path:
        """Its root directory, seen from the tests."""
        return Path(f"/proc/{self.pid}/root")

    @property
    def log_directory(self) -> Path:
        return self.world.directory / "logs" / self.name

    def log(self, name: str) -> str:
        return (self.log_directory / name).read_text(errors="replace")

    def boot(self) -> None:
        """Make the node, with its network, and what every node runs; but Slurm's daemons."""
        self.log_directory.mkdir(parents=True, exist_ok=True)
        script = self.world.directory / "node.sh"
        script.write_text(_SCRIPT.read_text())
        with (self.log_directory / "boot").open("wb") as log:
            self._unshare = self.world.place.start(
                "unshare", "--mount", "--net", "--uts", "--ipc", "--pid", "--fork",
                "--kill-child", "bash", PLACE / script.name, self.name, PLACE, self.prefix,
                stdout=subprocess.PIPE, stderr=log,
            )  # fmt: skip
        self.world.keep(self._unshare)
        assert self._unshare.stdout is not None
        answer = self._unshare.stdout.readline().strip()
        self._unshare.stdout.close()
        if not answer:
            pytest.fail(f"{self.name} does not start:\n{self.log('boot')}", pytrace=False)
        self.pid = int(answer)
        self.world.connect(self.pid, self.address)
        self.start_daemon("munged", "--foreground", user="munge")

    def mount_global(self, client: str) -> None:
        """Mount the shared filesystem; `client` is a volume file as the nodes see it."""
        # A test on one node looks at once for what a job has written on another.
        fresh = [f"--{kind}-timeout=0" for kind in ("attribute", "entry", "negative")]
        volume = [f"--volfile={client}", "--log-file=/run/glusterfs.log", *fresh]
        self.start_daemon("glusterfs", "--no-daemon", *volume, GLOBAL)
        wait_until(
            lambda: self.root.joinpath("global/home").is_dir(), what=f"{GLOBAL} on {self.name}"
        )

    def start_daemon(self, *words: str | Path, **options: Any) -> None:
        """Start a program that stays, with a log of its name."""
        name = Path(words[0]).name
        with (self.log_directory / name).open("ab") as log:
            daemon = self.place.start(*words, stdout=log, stderr=log, **options)
        self.daemons[name] = self.world.keep(daemon)

    def start_slurmd(self) -> None:
        self.start_daemon("slurmd", "-D", "-N", self.name)

    def wait_for_slurmd(self) -> None:
        table = Path(f"/proc/{self.pid}/net/tcp")
        listening = f":{_SLURMD_PORT:04X} 00000000:0000 0A"
        wait_until(lambda: listening in table.read_text(), what=f"slurmd on {self.name}")

    def stop_slurmd(self, number: signal.Signals = signal.SIGKILL) -> None:
        """End slurmd; what its steps run goes on."""
        self.kill(self.pids("slurmd"), number)
        self.daemons.pop("slurmd").wait()

    def shut_down(self) -> None:
        """End every process at once, and with them all mounts, as when the power is cut."""
        assert self._unshare is not None
        os.kill(self.pid, signal.SIGKILL)
        self._unshare.wait()
        for daemon in self.daemons.values():
            daemon.wait()
        self.daemons.clear()

    def pids(self, pattern: str) -> list[int]:
        """Processes there, by what their command line begins with, as this machine counts them."""
        inside = os.readlink(f"/proc/{self.pid}/ns/pid")
        return [
            int(process.name)
            for process in Path("/proc").iterdir()
            if process.name.isdecimal() and _is(process, pattern, inside)
        ]

    @staticmethod
    def kill(pids: list[int], number: signal.Signals = signal.SIGKILL) -> None:
        for pid in pids:
            os.kill(pid, number)

    def mounts(self) -> list[str]:
        """Lines of the mount table, as the node's own daemons have it, that are Shifter's."""
        table = (Path("/proc") / str(self.pid) / "mountinfo").read_text().splitlines()
        return [line for line in table if _is_below(line.split()[4], _SHIFTERS)]

    def kept(self) -> list[str]:
        """What Shifter remembers of jobs, and what they have kept."""
        done = self.place.run("find", *_OF_JOBS, "-mindepth", "1", "-maxdepth", "1")
        return done.stdout.splitlines()


def _is(process: Path, pattern: str, pid_namespace: str) -> bool:
    try:
        words = (process / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
        return words.startswith(pattern) and os.readlink(process / "ns/pid") == pid_namespace
    except OSError:  # it has ended
        return False


def _is_below(path: str, places: tuple[str, ...]) -> bool:
    return any(path == place or path.startswith(f"{place}/") for place in places)
