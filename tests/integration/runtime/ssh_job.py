# SPDX-License-Identifier: BSD-3-Clause
"""A job of alice's whose container has an sshd, on the node of `batch`; and who may try to log in.

The port is one that is free, so that tests of several checkouts can run at once.
"""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
from pathlib import Path

from tests import openssh
from tests.integration.runtime.batch import BatchNode, finish
from tests.integration.runtime.node import ALICE, BOB

JOB = "77"

_Done = subprocess.CompletedProcess[str]


class SshJob:
    """Starts the container of a job with `start`; logs in with `ssh`, as from another node."""

    def __init__(self, batch: BatchNode, keys: Path) -> None:
        self.batch = batch
        self.node = batch.node
        self.keys = keys
        self.port = free_port()
        self.site = self.node.prefix / "udiImage"
        shutil.rmtree(self.site, ignore_errors=True)
        shutil.copytree(openssh.require(), self.site)
        for name in ("sshd_config", "ssh_config"):
            self.change(name, "Port 1204", f"Port {self.port}")
        _own_by_root(self.site)
        self.home = self.node.shared / "home/alice"
        for user, name in ((ALICE, "alice"), (BOB, "bob")):
            home = self.node.shared / "home" / name
            (home / ".udiRoot").mkdir(parents=True)
            self.make_key(home / ".udiRoot/id_rsa.key")
            for path in (home, *home.rglob("*")):
                os.chown(path, user, user)
            home.chmod(0o700)
        self.configure()

    def configure(self, **settings: object) -> None:
        site_fs = f"{self.node.shared}:/shared; {self.node.shared}/home:/home"
        self.node.configure(**{"siteFs": site_fs, "optUdiImage": self.site} | settings)

    def change(self, name: str, old: str, new: str) -> None:
        path = self.site / "etc" / name
        path.write_text(path.read_text().replace(old, new))

    def occupy_port_with_next_key(self) -> None:
        """Have the user listen on the port from when the container's host key is made."""
        program = self.site / "bin/ssh-keygen"
        program.rename(program.with_name("ssh-keygen.real"))
        program.write_text(
            "#!/bin/busybox sh\n"
            f"busybox nc -l -p {self.port} </dev/null >/dev/null 2>&1 &\n"
            f"until busybox grep -q ':{self.port:04X} .* 0A ' /proc/net/tcp /proc/net/tcp6\n"
            "do busybox usleep 5000; done\n"
            f'exec "$0.real" "$@"\n'
        )
        program.chmod(0o755)

    def make_key(self, path: Path, kind: str = "ed25519") -> str:
        """A key pair; the text of the public one."""
        subprocess.run(
            [self.site / "bin/ssh-keygen", "-q", "-t", kind, "-N", "", "-C", "comment", "-f", path],
            check=True, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
        )  # fmt: skip
        return Path(f"{path}.pub").read_text().strip()

    @property
    def public_key(self) -> str:
        return (self.home / ".udiRoot/id_rsa.key.pub").read_text().strip()

    @property
    def private_key(self) -> Path:
        return self.home / ".udiRoot/id_rsa.key"

    def start(self, *words: str, key: str | None = None, job: str | None = JOB) -> _Done:
        named = [] if job is None else ["--job", job]
        done = self.batch.setup(*named, "-s", key or self.public_key, *words)
        assert (done.returncode, done.stderr) == (0, "")
        return done

    def stop(self, job: str | None = JOB) -> _Done:
        return self.batch.unsetup(*([] if job is None else ["--job", job]))

    def ssh(self, *words: str, key: Path | None = None, login: str = "alice", **more: str) -> _Done:
        """Log in as from another node, with that node's own ssh."""
        return self.client("ssh", *words, key=key, login=login, **more)

    def client(
        self, *words: str, key: Path | None = None, login: str = "alice", stdin: str = ""
    ) -> _Done:
        program, *rest = words
        port = "-p" if program == "ssh" else "-P"
        options = {
            "IdentityFile": key or self.private_key, "IdentitiesOnly": "yes", "User": login,
            "UserKnownHostsFile": self.keys / "known_hosts", "StrictHostKeyChecking": "accept-new",
            "BatchMode": "yes", "LogLevel": "ERROR",
        }  # fmt: skip
        settings = [word for name, value in options.items() for word in ("-o", f"{name}={value}")]
        target = ["127.0.0.1"] if program == "ssh" else []
        return subprocess.run(
            [program, "-F", "none", port, str(self.port), *settings, *target, *rest],
            input=stdin, capture_output=True, text=True, check=False, timeout=60,
        )  # fmt: skip

    def start_session(self, command: str) -> subprocess.Popen[bytes]:
        """A session that goes on; whoever starts it waits for it."""
        options = ["StrictHostKeyChecking=no", "UserKnownHostsFile=/dev/null", "BatchMode=yes"]
        return subprocess.Popen(
            ["ssh", "-F", "none", "-p", str(self.port), "-i", self.private_key, "-l", "alice",
             *(word for option in options for word in ("-o", option)), "127.0.0.1", command],
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip

    def launch(self, *words: str, job: str | None = JOB, user: int = ALICE) -> _Done:
        """A launch that joins the job's container."""
        return finish(self.batch.start_shifter(*words, user=user, job=job))

    def daemon(self) -> int:
        """The number of its sshd."""
        state = f"/run/shifter/udi/{JOB}/sshd"
        return int(self.batch.run("cat", state).stdout.split()[0])

    def group(self) -> str:
        """The control group of its sshd."""
        lines = Path(f"/proc/{self.daemon()}/cgroup").read_text().splitlines()
        return next(line[len("0::") :] for line in lines if line.startswith("0::"))


def is_running(number: int) -> bool:
    try:
        text = Path(f"/proc/{number}/stat").read_text()
    except OSError:
        return False
    return text.rpartition(")")[2].split()[0] != "Z"


def free_port() -> int:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        return int(unused.getsockname()[1])


def _own_by_root(tree: Path) -> None:
    for path in (tree, *tree.rglob("*")):
        os.chown(path, 0, 0)
