# SPDX-License-Identifier: BSD-3-Clause
"""A clean Debian to install into: a root tree below an overlay, in namespaces of its own.

It has this machine's network, devices and kernel; whatever is started or mounted in it ends with
it. A copy starts with what the original had on disk, and changes nothing there.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import signal
import subprocess
from collections.abc import Iterator, Sequence
from pathlib import Path

ROOT = Path(__file__).parents[3]

_BASE = r"""
. tools/shell.sh
codename=$(os_release VERSION_CODENAME)
mapfile -t sources < <(distribution_sources "$codename")
apt_access >"$1.conf"
mmdebstrap --quiet --mode=root --variant=apt --aptopt="$1.conf" --dpkgopt=force-unsafe-io \
    --dpkgopt='path-exclude=/usr/share/man/*' --dpkgopt='path-exclude=/usr/share/locale/*' \
    "$codename" "$1" "${sources[@]}"
cp "$1.conf" "$1/etc/apt/apt.conf.d/90test"
rm "$1/etc/dpkg/dpkg.cfg.d/99mmdebstrap" # packages of ours are to be installed whole
"""
_START = r"""
set -e
mount -t tmpfs -o mode=0755 shifter-test "$1"
mkdir "$1"/upper "$1"/work "$1"/root
mount -t overlay overlay -o "lowerdir=$2,upperdir=$1/upper,workdir=$1/work" "$1/root"
cd "$1/root"
mount --rbind /dev dev
mount --rbind /sys sys
mount -t proc proc proc
mount -t tmpfs -o mode=0755 shifter-test run
cp -L /etc/resolv.conf /etc/hosts etc/
echo ready
while :; do sleep 3600 & wait; done
"""
_numbers = itertools.count()


class Machine:
    """Run commands in it as root; `machine.run("apt-get", "install", …)`."""

    def __init__(self, directory: Path, lower: str) -> None:
        self.directory = directory
        self.lower = lower
        self.holder: subprocess.Popen[str] | None = None

    @property
    def _root(self) -> str:
        return str(self.directory / "root")

    def start(self, within: Sequence[str]) -> None:
        self.directory.mkdir(mode=0o755)
        self.holder = subprocess.Popen(
            [*within, "unshare", "--mount", "--pid", "--fork", "--kill-child", "bash", "-c",
             _START, "machine", str(self.directory), self.lower],
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True,
        )  # fmt: skip
        assert self.holder.stdout is not None
        assert self.holder.stdout.readline() == "ready\n"

    def stop(self) -> None:
        if self.holder is not None:
            # nsenter, which may be the holder, would leave it behind.
            os.kill(self._first_process(), signal.SIGKILL)
            self.holder.communicate()

    def enter(self) -> list[str]:
        """What puts a command into the namespaces, before its root is changed."""
        return ["nsenter", f"--target={self._first_process()}", "--mount", "--pid"]

    def path(self, name: str) -> Path:
        """A file of the machine's, as tests see it."""
        return Path(f"/proc/{self._first_process()}/root{self._root}/{name.lstrip('/')}")

    def command(self, *words: str, user: str = "root") -> list[str]:
        as_user = ["setpriv", f"--reuid={user}", f"--regid={user}", "--init-groups"]
        environment = [
            "env",
            "-i",
            "PATH=/usr/sbin:/usr/bin:/sbin:/bin",
            "HOME=/",
            "LC_ALL=C.UTF-8",
        ]
        quiet = ["DEBIAN_FRONTEND=noninteractive"]
        return [
            *self.enter(), "chroot", self._root, *environment, *quiet,
            *(as_user if user != "root" else ()), *words,
        ]  # fmt: skip

    def run(
        self, *words: str, user: str = "root", check: bool = True
    ) -> subprocess.CompletedProcess[str]:
        """Its output and errors are both in `stdout`."""
        done = subprocess.run(
            self.command(*words, user=user),
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
            text=True, timeout=400, check=False,
        )  # fmt: skip
        assert not check or done.returncode == 0, done.stdout[-3000:]
        return done

    def shell(self, script: str, user: str = "root") -> str:
        return self.run("bash", "-ec", script, user=user).stdout

    def install(self, *packages: str) -> str:
        """Packages of Debian by their names, or files by their paths."""
        words = ("--yes", "--no-install-recommends", "-o", "Dpkg::Options::=--force-unsafe-io")
        return self.run("apt-get", "install", *words, *packages).stdout

    def lend(self, directory: Path, name: str) -> None:
        """Show a directory of the test's in the machine, at `name`."""
        target = f"{self._root}/{name.lstrip('/')}"
        script = 'mkdir -p "$2" && mount --bind "$1" "$2"'
        words = ["sh", "-ec", script, "lend", str(directory), target]
        subprocess.run([*self.enter(), *words], check=True)

    @contextlib.contextmanager
    def copy(self) -> Iterator[Machine]:
        """Another with the same files; nothing runs in it yet."""
        other = Machine(
            self.directory.parent / f"machine{next(_numbers)}",
            f"{self.directory}/upper:{self.lower}",
        )
        try:
            other.start(self.enter())
            yield other
        finally:
            other.stop()

    def _first_process(self) -> int:
        assert self.holder is not None
        # nsenter executes; unshare has one child, which is the first process of the namespace.
        pid = self.holder.pid
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        if self._is_waiting_for_another(int(children[0])):
            pid = int(children[0])
            children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        return int(children[0])

    @staticmethod
    def _is_waiting_for_another(pid: int) -> bool:
        return Path(f"/proc/{pid}/comm").read_text() == "unshare\n"


def make_tree(target: Path) -> None:
    """A root tree of this machine's distribution, with apt and little else."""
    done = subprocess.run(
        ["bash", "-ec", _BASE, "tree", str(target)],
        cwd=ROOT, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        text=True, timeout=600, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-3000:]


@contextlib.contextmanager
def running(directory: Path, tree: Path, within: Sequence[str] = ()) -> Iterator[Machine]:
    """On this root tree, which may be one that only a mount namespace has (`within`: nsenter)."""
    machine = Machine(directory / f"machine{next(_numbers)}", str(tree))
    try:
        machine.start(within)
        yield machine
    finally:
        machine.stop()
