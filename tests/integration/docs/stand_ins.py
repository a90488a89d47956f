# SPDX-License-Identifier: BSD-3-Clause
"""What stands in for images and registries that the documentation speaks of.

No image of theirs can be had without a network. These have their names, and programs of the
machine that runs the tests: enough to do what the pages do with them.
"""

from __future__ import annotations

import dataclasses
import json
import re
import subprocess
import sysconfig
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tests.cluster.gateway import PRIVATE_DIRECTORY, PRIVATE_REGISTRY
from tests.cluster.places import PLACE, Place, inside
from tests.integration.conftest import Registry, layer, require_program, wait_until

if TYPE_CHECKING:
    from tests.cluster.cluster import Cluster

_PROGRAMS = (
    *("bash", "cat", "chmod", "cp", "date", "df", "echo", "env", "grep", "head", "hostname", "id"),
    *("ls", "mkdir", "nproc", "printenv", "pwd", "rm", "sed", "sh", "sleep", "sort", "stat"),
    *("tail", "touch", "tr", "true", "uname", "wc", "whoami"),
)
_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_OS_RELEASE = 'PRETTY_NAME="Ubuntu 24.04.3 LTS"\nNAME="Ubuntu"\nVERSION_ID="24.04"\n'

Entries = list[tuple[str, Any]]


def push_all(cluster: Cluster, private: Registry) -> None:
    """Put the images where the pages say that they are."""
    base = layer(*_base())
    env = {"Env": [f"PATH={_PATH}"], "Cmd": ["/bin/bash"]}
    python = {"Env": [f"PATH={_PATH}", "PYTHON_VERSION=3.12.8"], "Cmd": ["python3"]}
    git = env | {"Entrypoint": ["git"], "Cmd": ["--help"], "WorkingDir": "/git"}
    tool = env | {"Entrypoint": ["tool"]}
    for name in ("ubuntu:24.04", "ubuntu:22.04"):
        cluster.push_image(name, [base], env)
    cluster.push_image("python:3.12", [base, layer(*_python())], python)
    for version in ("2.47.1", "2.47.2"):
        cluster.push_image(f"alpine/git:{version}", [base, layer(*_git(version))], git)
    with inside(cluster.node("ctl").pid):
        private.push("lab/tool:1.4", [base, layer(*_tool())], tool)


def start_private_registry(cluster: Cluster) -> Registry:
    """The registry that lets alice in with the password that a terminal types."""
    directory = cluster.world.directory / "private"
    directory.mkdir()
    for user in ("alice",):
        lines = subprocess.run(
            [require_program("htpasswd"), "-Bbn", user, "secret"],
            check=True, capture_output=True, text=True,
        ).stdout  # fmt: skip
        (directory / "htpasswd").write_text(lines)
    certificates = PLACE / "etc/shifter" / PRIVATE_DIRECTORY
    configuration = {
        "version": "0.1",
        "log": {"level": "warn", "accesslog": {"disabled": True}},
        "storage": {"filesystem": {"rootdirectory": f"{PLACE}/private/storage"}},
        "http": {
            "addr": "0.0.0.0:443",
            "tls": {
                "certificate": f"{certificates}/{PRIVATE_REGISTRY}.crt",
                "key": f"{certificates}/{PRIVATE_REGISTRY}.key",
            },
        },
        "auth": {"htpasswd": {"realm": "private", "path": f"{PLACE}/private/htpasswd"}},
    }
    (directory / "registry.yml").write_text(json.dumps(configuration))  # JSON is YAML
    control = cluster.node("ctl")
    place = Place(files=cluster.world.pid, network=control.pid, processes=control.pid)
    with (directory / "log").open("wb") as log:
        process = place.start(
            require_program("docker-registry"), "serve", PLACE / "private/registry.yml",
            stdout=log, stderr=log,
        )  # fmt: skip
    cluster.world.keep(process)
    table = Path(f"/proc/{control.pid}/net/tcp")
    tables = [table, table.with_name("tcp6")]
    wait_until(
        lambda: any(":01BB 0" in found.read_text() for found in tables),
        what="the registry with passwords",
    )
    return Registry(
        "https://127.0.0.1", directory / "storage", process, login=("alice", "secret"),
        verify=str(cluster.world.directory / "etc/shifter" / PRIVATE_DIRECTORY / "public/ca.crt"),
    )  # fmt: skip


def _base() -> Entries:
    directories = ("usr", "usr/bin", "usr/lib", "usr/lib64", "usr/local", "usr/local/bin")
    entries: Entries = [
        (name, None) for name in (*directories, "etc", "home", "opt", "proc", "tmp", "var")
    ]
    entries += [(name, f"-> usr/{name}") for name in ("bin", "lib", "lib64", "sbin")]
    entries += [("usr/sbin", None), ("etc/os-release", _OS_RELEASE.encode())]
    entries += [("etc/passwd", b"root:x:0:0:root:/root:/bin/bash\n"), ("etc/group", b"root:x:0:\n")]
    return entries + list(_programs([f"/usr/bin/{name}" for name in _PROGRAMS]))


def _python() -> Entries:
    """The machine's own Python, with what of its library a few lines need."""
    library = Path(sysconfig.get_paths()["stdlib"])
    entries: Entries = [(str(library).lstrip("/"), None)]
    for path in sorted(library.rglob("*")):
        parts = set(path.relative_to(library).parts)
        if parts & {"test", "idlelib", "tkinter", "ensurepip", "__pycache__", "lib2to3"}:
            continue
        if parts & {"dist-packages", "site-packages"} or not (path.is_dir() or path.is_file()):
            continue
        content = None if path.is_dir() else path.read_bytes()
        entries.append((str(path).lstrip("/"), content))
    entries.append(("usr/local/bin/python3", "-> ../../bin/python3"))
    return entries + list(_programs(["/usr/bin/python3"]))


def _git(version: str) -> Entries:
    script = f"#!/bin/sh\necho git version {version}\n"
    return [("usr/bin/git", script.encode()), ("git", None)]


def _tool() -> Entries:
    return [("usr/local/bin/tool", b'#!/bin/sh\necho "tool 1.4: $*"\n')]


def _programs(paths: Sequence[str]) -> Iterator[tuple[str, Any]]:
    """Programs, and the libraries that they need, where they are on this machine."""
    listed = subprocess.run(["ldd", *paths], check=False, capture_output=True, text=True).stdout
    libraries = set(re.findall(r"(/\S+) \(", listed))
    for path in sorted({*paths, *libraries}):
        name = path.lstrip("/")
        for link in ("lib", "lib64", "bin", "sbin"):
            if name.startswith(f"{link}/"):
                name = f"usr/{name}"
        yield name, Path(path).read_bytes()


@dataclasses.dataclass(frozen=True)
class Home:
    """What a user finds at home before a page is read."""

    cluster: Cluster

    def renew(self) -> None:
        for user in ("alice", "bob"):
            home = self.cluster.home(user)
            script = (
                f"cd {home} && rm -rf ./* .udiRoot .docker .config && mkdir data results"
                " && rm -f /global/scratch/tools.squashfs && printf 'one\\ntwo\\n' >data/words"
            )
            self.cluster.output("ctl", "sh", "-c", script, user=user)
