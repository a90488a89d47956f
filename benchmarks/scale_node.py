# SPDX-License-Identifier: BSD-3-Clause
"""One node of a job: its prolog, its ranks, all at once, its epilog, and what there is then."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import pwd
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import MappingProxyType

from benchmarks import programs, scale_ranks, spawn
from benchmarks.installation import Installation
from benchmarks.launch import LaunchImage, as_user
from benchmarks.programs import BenchmarkError, Cost

HOSTSFILE = "var/hostsfile"
HOLD = ("/bin/sh", "-c", "echo; exec cat")
NO_VARIABLES: Mapping[str, str] = MappingProxyType({})


@dataclasses.dataclass(frozen=True, kw_only=True)
class Node:
    """The node that all others are like: this machine."""

    work: Path
    installation: Installation
    image: LaunchImage
    request: str  # the name under which the job asked for the image
    user: pwd.struct_passwd
    ranks: int

    @property
    def job(self) -> str:
        """No batch system counts so far."""
        return f"benchmark-{os.getpid()}"

    @property
    def variables(self) -> dict[str, str]:
        """What the plugin puts into the environment of each task."""
        return {
            "SHIFTER_JOB_ID": self.job,
            "SHIFTER_IMAGETYPE": "id",
            "SHIFTER_IMAGE": self.image.image_id,
            "SHIFTER_IMAGEREQUEST": self.request.partition(":")[2],
        }


@dataclasses.dataclass(frozen=True)
class NodeList:
    """The nodes of a job as Slurm tells its prologs, without a call to its controller."""

    hosts: str  # SLURM_NODELIST
    tasks: str  # SLURM_JOB_CPUS_PER_NODE

    @property
    def size(self) -> int:
        """Bytes of the two arguments."""
        return len(self.hosts) + len(self.tasks)


@dataclasses.dataclass(frozen=True)
class Ranks:
    """What was seen while every rank was running, and what they had cost when they were over."""

    count: int
    seconds: float  # until the last was running
    cpu_seconds: float  # of all of them
    mounts: int  # that the node itself sees
    namespaces: int  # of mounts, other than the node's
    mounts_inside: int  # that one rank sees
    devices: int  # loop devices of the image
    hostsfile: int  # bytes


def node_list(nodes: int, ranks: int) -> NodeList:
    """This node and its neighbours; a node asks for addresses where it does not find itself."""
    width = len(str(nodes))
    own = os.uname().nodename.partition(".")[0]
    others = f",n[{1:0{width}}-{nodes - 1:0{width}}]" if nodes > 1 else ""
    return NodeList(own + others, f"{ranks}(x{nodes})" if nodes > 1 else str(ranks))


@contextlib.contextmanager
def prepared(node: Node, nodes: NodeList) -> Iterator[Cost]:
    """Between prolog and epilog, as the batch system's plugin runs them; what the prolog cost."""
    tools = node.installation.prefix / "sbin"
    command: list[str | Path] = [
        *(tools / "setupRoot", f"--job={node.job}", "--show", f"--user={node.user.pw_name}"),
        *(f"--nodelist={nodes.hosts}", f"--tasks-per-node={nodes.tasks}"),
        *(f"--request={node.request}", "--", "id", node.image.image_id),
    ]
    cost = programs.measure(command, node.work / "setupRoot.log", environment={})
    try:
        yield cost
    finally:
        programs.run([tools / "unsetupRoot", f"--job={node.job}"])


def launch(
    node: Node,
    *options: str,
    variables: Mapping[str, str] = NO_VARIABLES,
    command: tuple[str, ...] = HOLD,
) -> Ranks:
    """Every rank by the set-uid launcher, at once; `variables` are those of the job."""
    order = {
        "command": [str(node.installation.shifter), *options, *command],
        "environment": dict(variables),
        "ranks": node.ranks,
    }
    interpreter = os.path.realpath(sys.executable)
    starter = subprocess.Popen(
        [interpreter, "-I", "-S", "-c", Path(scale_ranks.__file__).read_text()],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        errors="replace",
        **as_user(node.user),
    )
    with starter:
        assert starter.stdin and starter.stdout and starter.stderr
        starter.stdin.write(json.dumps(order) + "\n")
        starter.stdin.flush()
        running = json.loads(starter.stdout.readline() or "null")
        if running is None or running["running"] < node.ranks:
            starter.stdin.close()
            complaint = starter.stderr.read().strip()[-programs.TAIL :]
            raise BenchmarkError(f"not every rank has come up: {complaint}")
        seen = _look(running["pids"], node.image)
        starter.stdin.close()
        over = json.loads(starter.stdout.readline())
    if over["failed"]:
        raise BenchmarkError(f"{over['failed']} of {node.ranks} ranks failed")
    return Ranks(
        count=node.ranks, seconds=running["seconds"], cpu_seconds=over["cpu_seconds"], **seen
    )


def node_mounts() -> int:
    """How many mounts this process sees."""
    return _mounts_of(os.getpid())


def _look(pids: list[int], image: LaunchImage) -> dict[str, int]:
    own = os.readlink("/proc/self/ns/mnt")
    namespaces = {os.readlink(f"/proc/{pid}/ns/mnt") for pid in pids} - {own}
    hostsfile = Path(f"/proc/{pids[0]}/root", HOSTSFILE)
    return {
        "mounts": node_mounts(),
        "namespaces": len(namespaces),
        "mounts_inside": _mounts_of(pids[0]),
        "devices": len(spawn.loop_devices(str(image.path))),
        "hostsfile": hostsfile.stat().st_size if hostsfile.exists() else 0,
    }


def _mounts_of(pid: int) -> int:
    return len(Path(f"/proc/{pid}/mountinfo").read_bytes().splitlines())
