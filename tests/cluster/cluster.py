# SPDX-License-Identifier: BSD-3-Clause
"""The whole of it: brought up step by step, and used by tests through one object."""

from __future__ import annotations

import contextlib
import re
import secrets
import shutil
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from tests import openssh
from tests.cluster import accounts, gateway, slurm
from tests.cluster.gateway import Gateway
from tests.cluster.node import GLOBAL, Node
from tests.cluster.places import World, finish, inside
from tests.cluster.slurm import Job
from tests.cluster.storage import ADDRESS, CLIENT, Storage
from tests.integration.conftest import PushedImage, layer, require_program, wait_until

_NETWORK = "10.77.0"
_CONTROL = f"{_NETWORK}.100"
_PROGRAMS = ("glusterfs", "ip", "munged", "slurmctld", "slurmd", "srun", "tar2sqfs", "unshare")
_APPLETS = ("sh", "cat", "cp", "echo", "env", "grep", "hostname", "id", "ls", "mkdir", "mount")
_APPLETS += ("nproc", "pwd", "readlink", "rm", "sleep", "sort", "stat", "test", "touch", "true")

Done = subprocess.CompletedProcess[str]


class Cluster:
    """See the package's own words for what a test may ask of it."""

    shared = GLOBAL

    def __init__(self, prefix: Path, *, nodes: int = 3) -> None:
        for program in _PROGRAMS:
            require_program(program)
        self.prefix = prefix
        self.plugin = prefix / "lib64/shifter/shifter_slurm.so"
        self.world = World()
        self.nodes = [f"n{number}" for number in range(1, nodes + 1)]
        self._nodes = {"ctl": Node(self.world, "ctl", _CONTROL, prefix)} | {
            name: Node(self.world, name, f"{_NETWORK}.{number}", prefix)
            for number, name in enumerate(self.nodes, 1)
        }
        self._settings: dict[str, object] = _UDI_ROOT | {
            "udiRootPath": prefix,
            "etcPath": prefix / "etc/shifter_etc_files",
            "optUdiImage": prefix / "etc/openssh",
        }
        self._arguments: dict[str, object] = {"shifter_config": prefix / "etc/udiRoot.conf"}
        self.busybox = "docker:lib/busybox:1"

    def start(self) -> None:
        self._write_etc()
        self.storage = Storage(self.world)
        self.node("ctl").boot()
        self.gateway = Gateway(self.world, self.node("ctl"))
        self.gateway.start_services()
        for name in self._nodes:
            self.boot(name)
        self.gateway.start()
        self.wait_idle()
        self.gateway.wait_until_ready()
        self.push_image("lib/busybox:1")
        self.pull(self.busybox)

    def close(self) -> None:
        self.world.close()

    # Where things run

    def node(self, name: str) -> Node:
        return self._nodes[name]

    def boot(self, name: str) -> None:
        """Bring a node up, for the first time or again."""
        node = self.node(name)
        if not node.daemons:
            node.boot()
        node.mount_global(f"{self.prefix}/etc/{CLIENT}")
        if name == "ctl":
            node.start_daemon("slurmctld", "-D")
        else:
            node.start_slurmd()

    def reboot(self, name: str) -> None:
        """Cut a node's power, and turn it on again."""
        self.node(name).shut_down()
        self.boot(name)
        self.node(name).wait_for_slurmd()

    def start_program(
        self,
        node: str,
        *words: str | Path,
        user: str = "alice",
        env: Mapping[str, str] | None = None,
        cwd: str | Path | None = None,
        **options: Any,
    ) -> subprocess.Popen[Any]:
        """Start a program on a node, as a user who has just logged in there."""
        home = str(self.home(user))
        login = {
            "HOME": home,
            "USER": user,
            "LOGNAME": user,
            "SHELL": "/bin/bash",
            "LANG": "C.UTF-8",
        }
        place = self.node(node).place
        return place.start(
            *words, user=user, cwd=str(cwd or home), env=login | dict(env or {}), **options
        )

    def run(
        self,
        node: str,
        *words: str | Path,
        timeout: float = 60,
        input: str | None = None,  # noqa: A002 - subprocess.run's word
        **options: Any,
    ) -> Done:
        """Run a program to its end there, or to its death when the time is up."""
        process = self.start_program(
            node, "timeout", "--kill-after=5", str(timeout), *words,
            stdin=subprocess.DEVNULL if input is None else subprocess.PIPE,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, **options,
        )  # fmt: skip
        return finish(process, list(words), input)

    def output(self, node: str, *words: str | Path, **options: Any) -> str:
        """What a program prints that must succeed."""
        done = self.run(node, *words, **options)
        assert done.returncode == 0, f"{done.returncode}: {done.stdout}{done.stderr}"
        return done.stdout

    def home(self, user: str) -> Path:
        return Path("/root") if user == "root" else GLOBAL / "home" / user

    def read(self, path: str | Path, *, user: str = "alice", node: str = "ctl") -> str:
        return self.output(node, "cat", path, user=user)

    def write(
        self,
        path: str | Path,
        text: str,
        *,
        user: str = "alice",
        node: str = "ctl",
        mode: str = "755",
    ) -> Path:
        script = 'cat >"$1" && chmod "$2" "$1"'
        self.output(node, "sh", "-c", script, "sh", path, mode, user=user, input=text)
        return Path(path)

    def put(self, source: Path, path: str | Path, *, node: str) -> None:
        """Copy a file from outside to a node's own disk; everybody may read it."""
        copy = self.node(node).root / str(path).lstrip("/")
        shutil.copyfile(source, copy)
        copy.chmod(0o755)

    # Batch jobs

    def srun(self, *words: str | Path, node: str = "ctl", **options: Any) -> Done:
        return self.run(node, "srun", *words, **options)

    def sbatch(
        self,
        script: str | Sequence[str],
        *options: str,
        user: str = "alice",
        env: Mapping[str, str] | None = None,
        cwd: str | Path | None = None,
    ) -> Job:
        """Submit a script, its text with its `#!` line, or a command in words."""
        return Job.submit(self, script, options, user=user, env=env, cwd=cwd)

    def scontrol(self, *words: str) -> str:
        return self.output("ctl", "scontrol", *words, user="root")

    def job_states(self, job: int) -> list[str]:
        return re.findall(r"JobState=(\w+)", self.scontrol("show", "job", str(job)))

    def cancel_all(self) -> None:
        """End all jobs of all users."""
        for user in ("alice", "bob"):
            self.output("ctl", "scancel", "--full", f"--user={user}", user="root")

    def node_states(self) -> dict[str, str]:
        """The state of each node, and the reason where it has one: `idle`, `drain Prolog error`."""
        lines = self.output("ctl", "sinfo", "-hNo", "%N %t %E", user="root").splitlines()
        words = [line.split(maxsplit=2) for line in lines]
        return {
            name: state if reason == "none" else f"{state} {reason}"
            for name, state, reason in words
        }

    def assert_no_drain(self) -> None:
        states = self.node_states()
        assert not [
            state for state in states.values() if re.match("drain|drng|fail|down", state)
        ], states

    def wait_idle(self, timeout: float = 60) -> None:
        """Wait until no job is on any node, and every epilog has ended."""

        def is_idle() -> bool:
            states = set(self.node_states().values())
            assert not [state for state in states if state.startswith("drain")], states
            return states == {"idle"}

        wait_until(is_idle, seconds=timeout, what="idle nodes")

    @contextlib.contextmanager
    def plugstack(self, **arguments: object) -> Iterator[None]:
        """Have the plugin other arguments; None takes one away, True stands without a value."""
        path = self.world.directory / "etc/slurm/plugstack.conf"
        before = path.read_text()
        path.write_text(slurm.plugstack_line(self.plugin, self._arguments | arguments))
        try:
            yield
            self.wait_idle()  # their epilogs are to see what their prologs saw
        finally:
            path.write_text(before)

    @contextlib.contextmanager
    def without_plugin(self) -> Iterator[None]:
        """Have Slurm do without it for a while, as where a prolog or an epilog is not run."""
        path = self.world.directory / "etc/slurm/plugstack.conf"
        before = path.read_text()
        path.write_text("")
        try:
            yield
        finally:
            path.write_text(before)

    @contextlib.contextmanager
    def settings(self, **keys: object) -> Iterator[None]:
        """Have udiRoot.conf other keys on all nodes; None takes one away."""
        path = self.world.directory / "etc/shifter/udiRoot.conf"
        before = path.read_text()
        _write_keys(path, self._settings | keys)
        try:
            yield
            self.wait_idle()
        finally:
            path.write_text(before)

    # What Shifter does

    def mounts(self, node: str) -> list[str]:
        return self.node(node).mounts()

    def is_clean(self, node: str) -> bool:
        return self.mounts(node) == [] and self.node(node).kept() == []

    def gateway_requests(self) -> int:
        return self.gateway.lookups()

    def push_image(
        self,
        name: str,
        layers: Sequence[bytes] | None = None,
        config: Mapping[str, Any] | None = None,
        *,
        files: Mapping[str, bytes | str] | None = None,
    ) -> PushedImage:
        """Put an image there: busybox with `files`, or of these layers."""
        blobs = [_busybox_layer()] if layers is None else list(layers)
        if files:
            blobs.append(layer(*files.items()))
        with inside(self.node("ctl").pid):
            return self.gateway.registry.push(name, blobs, {"Env": ["PATH=/bin"], **(config or {})})

    def pull(self, reference: str, *options: str, user: str = "alice") -> str:
        """Have a user pull an image; its id."""
        self.output("ctl", "shifterimg", *options, "pull", reference, user=user)
        return self.lookup(reference, user=user)

    def lookup(self, reference: str, *, user: str = "alice") -> str:
        return self.output("ctl", "shifterimg", "lookup", reference, user=user).strip()

    def site_file(self, name: str, text: str) -> Path:
        """A file of the administrator's, which all nodes have."""
        (self.world.directory / "etc/shifter" / name).write_text(text)
        return self.prefix / "etc" / name

    def _write_etc(self) -> None:
        directory = self.world.directory
        etc = directory / "etc/shifter"
        etc.parent.mkdir()
        (directory / "logs").mkdir()
        shutil.copytree(self.prefix / "etc", etc)
        shutil.copytree(openssh.require(), etc / "openssh", symlinks=True)
        _write_keys(etc / "udiRoot.conf", self._settings)
        accounts.write(etc / "accounts")
        gateway.write_config(etc, self.prefix)
        hosts = [("127.0.0.1", "localhost"), (ADDRESS, "gfs")]
        hosts.append((_CONTROL, gateway.PRIVATE_REGISTRY))
        hosts += [(node.address, name) for name, node in self._nodes.items()]
        (etc / "hosts").write_text("".join(f"{address} {name}\n" for address, name in hosts))
        slurm.write_config(directory / "etc/slurm", len(self.nodes))
        line = slurm.plugstack_line(self.plugin, self._arguments)
        (directory / "etc/slurm/plugstack.conf").write_text(line)
        munge = directory / "etc/munge"
        munge.mkdir(mode=0o700)
        key = munge / "munge.key"
        key.touch(mode=0o400)
        key.write_bytes(secrets.token_bytes(1024))
        for path in (munge, key):
            shutil.chown(path, "munge", "munge")


_UDI_ROOT: dict[str, object] = {
    "udiMount": "/var/udiMount",
    "loopMount": "/var/loopMount",
    "imagePath": "/global/images",
    "imageOwners": "shifter",
    "imageGateway": gateway.URL,
    "system": gateway.SYSTEM,
    "defaultImageType": "docker",
    "populateEtcDynamically": 1,
    "allowLibcPwdCalls": 1,
    "maxGroupCount": 31,
    "siteFs": "/global/home:/global/home; /global/scratch:/global/scratch",
    "siteEnv": "SHIFTER_RUNTIME=1",
    "perNodeCachePath": "/global/caches",
}


def _write_keys(path: Path, keys: Mapping[str, object]) -> None:
    path.write_text(
        "".join(f"{key} = {value}\n" for key, value in keys.items() if value is not None)
    )


def _busybox_layer() -> bytes:
    links = [(f"bin/{name}", "-> busybox") for name in _APPLETS]
    entries = [("bin", None), ("etc", None), ("home", None), ("data", None)]
    return layer(*entries, ("bin/busybox", Path("/bin/busybox").read_bytes()), *links)
