# SPDX-License-Identifier: BSD-3-Clause
"""A node as a batch system sees it: root prepares containers there, and users launch into them.

It is called node1, and is a mount namespace of its own, whose mounts are shared among themselves,
as systemd leaves them. What is mounted there reaches nothing else, and ends with it.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.runtime.node import ALICE, IMAGE_ID, Node

STATE = "/run/shifter/udi"


class BatchNode:
    """Runs setupRoot, unsetupRoot and shifter where only this test mounts."""

    def __init__(self, node: Node) -> None:
        self.node = node
        script = (
            "umount --recursive --lazy /run/shifter/udi 2>&-; mkdir -p /run/shifter && "
            "mount -t tmpfs -o mode=0700 none /run/shifter && "
            "mount --make-rshared / && hostname node1 && echo ready && exec sleep infinity"
        )
        self._holder = subprocess.Popen(
            ["unshare", "--uts", "--mount", "--propagation", "private", "sh", "-c", script],
            stdout=subprocess.PIPE, text=True,
        )  # fmt: skip
        assert self._holder.stdout is not None
        assert self._holder.stdout.readline() == "ready\n"
        spaces = f"/proc/{self._holder.pid}/ns"
        self._started: list[subprocess.Popen[str]] = []
        self._enter = [_program("nsenter"), f"--mount={spaces}/mnt", f"--uts={spaces}/uts"]

    def close(self) -> None:
        for process in self._started:  # of a test that failed half-way
            if process.poll() is None:
                process.kill()
                process.communicate()
        self._holder.kill()
        self._holder.communicate()

    def start(
        self, *words: str | Path, user: int = 0, env: dict[str, str] | None = None, cwd: str = "/"
    ) -> subprocess.Popen[str]:
        become = []
        if user:
            ids = [f"--reuid={user}", f"--regid={user}", "--clear-groups"]
            become = [_program("setpriv"), *ids]
        enter = [*self._enter, f"--wd={cwd}"]
        process = subprocess.Popen(
            [*enter, *become, *words], cwd="/", env={"PATH": "/usr/bin:/bin"} | (env or {}),
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip
        self._started.append(process)
        return process

    def run(self, *words: str | Path, **options: object) -> subprocess.CompletedProcess[str]:
        return finish(self.start(*words, **options))  # type: ignore[arg-type]

    def setup(
        self, *words: str, image: str = IMAGE_ID, image_type: str = "id", **options: object
    ) -> _Done:
        """Run setupRoot for alice, if `words` name nobody else."""
        who = [] if {"-u", "-U", "--user", "--uid"} & set(words) else ["-u", "alice"]
        program = self.node.prefix / "sbin/setupRoot"
        return self.run(program, *who, *words, image_type, image, **options)

    def unsetup(self, *words: str) -> _Done:
        return self.run(self.node.prefix / "sbin/unsetupRoot", *words)

    def start_shifter(
        self, *words: str, user: int = ALICE, job: str | None = None, image: str = IMAGE_ID,
        env: dict[str, str] | None = None, cwd: str = "/",
    ) -> subprocess.Popen[str]:  # fmt: skip
        named = {} if job is None else {"SLURM_JOB_ID": job}
        return self.start(
            self.node.launcher, f"--image=id:{image}", *words, user=user, env=named | (env or {}),
            cwd=cwd,
        )  # fmt: skip

    def shifter(self, *words: str, **options: object) -> _Done:
        return finish(self.start_shifter(*words, **options))  # type: ignore[arg-type]

    def joined(self, *words: str, **options: object) -> str | None:
        """The name of the prepared container that a launch finds itself in, if in any."""
        done = self.shifter(*words, "busybox", "readlink", "/proc/self/ns/mnt", **options)
        assert done.returncode == 0, done.stderr
        inode = done.stdout.strip().removeprefix("mnt:[").removesuffix("]")
        kept = self.run("sh", "-c", f"cd {STATE} && stat -c '%i %n' */namespace").stdout
        names = dict(line.split() for line in kept.splitlines())
        return names[inode].partition("/")[0] if inode in names else None

    def mounts(self) -> list[str]:
        """Lines of the node's mount table that are Shifter's."""
        places = (str(self.node.prefix), STATE)
        table = Path(f"/proc/{self._holder.pid}/mountinfo").read_text().splitlines()
        return [line for line in table if line.split()[4].startswith(places)]

    def kept(self) -> list[str]:
        """Names below the state directory."""
        return self.run("sh", "-c", f"ls -A {STATE} 2>/dev/null || true").stdout.split()

    def is_clean(self) -> bool:
        return self.mounts() == [] and self.kept() == []


@pytest.fixture
def batch(node: Node) -> Iterator[BatchNode]:
    """The node for one test; whatever is left mounted ends with it."""
    batch = BatchNode(node)
    yield batch
    batch.close()


_Done = subprocess.CompletedProcess[str]


def finish(process: subprocess.Popen[str]) -> _Done:
    try:
        stdout, stderr = process.communicate(timeout=240)
    except subprocess.TimeoutExpired:
        process.kill()
        raise
    return subprocess.CompletedProcess(process.args, process.returncode, stdout, stderr)


def _program(name: str) -> str:
    path = shutil.which(name, path=os.defpath + ":/usr/sbin:/sbin")
    assert path is not None, f"{name} is missing: apt-get install util-linux"
    return path
