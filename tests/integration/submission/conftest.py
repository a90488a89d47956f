# SPDX-License-Identifier: BSD-3-Clause
"""The submission program as the Slurm plugin starts it: as a user, its answer read from a pipe."""

from __future__ import annotations

import dataclasses
import itertools
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from tests.integration.conftest import SYSTEM
from tests.integration.runtime.node import ALICE, BOB

PROGRAM = "import sys; from shifter_cli.submission import main; main(sys.argv[1], sys.argv[2:])"

_numbers = itertools.count(1)


@dataclasses.dataclass
class Answer:
    code: int
    records: dict[str, str]
    said: str


class LoginNode:
    """A machine where users submit: its udiRoot.conf, and homes that its name service names."""

    def __init__(self, directory, munge_socket):
        self.directory = directory
        self.images = directory / "images"
        self.homes = directory / "homes"
        self.config = directory / "udiRoot.conf"
        self._munge_socket = munge_socket
        self.images.mkdir()
        self.homes.mkdir()
        self.accounts = directory / "passwd"
        lines = ["root:x:0:0::/root:/bin/sh\n"]
        for name, uid in (("alice", ALICE), ("bob", BOB)):
            home = self.homes / name
            home.mkdir(mode=0o700)
            os.chown(home, uid, uid)
            lines.append(f"{name}:x:{uid}:{uid}::{home}:/bin/sh\n")
        self.accounts.write_text("".join(lines))

    def use(self, url, **keys):
        """Name the gateway, and write udiRoot.conf."""
        settings = {
            "udiMount": "/var/udiMount", "loopMount": "/var/udiLoopMount",
            "imagePath": self.images, "udiRootPath": "/opt/shifter", "populateEtcDynamically": 1,
            "defaultImageType": "docker", "system": SYSTEM, "imageGateway": url,
            "mungeSocketPath": self._munge_socket,
        } | keys  # fmt: skip
        self.config.write_text("".join(f"{key}={value}\n" for key, value in settings.items()))

    def start(self, *words, user=ALICE, first="", **options):
        """Begin a submission; `first` is done by a shell, in mounts of the submission's own."""
        options = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True} | options
        script = f'mount --bind "$0" /etc/passwd; {first}'
        identity = [f"--reuid={user}", f"--regid={user}", "--clear-groups"]
        become = ["unshare", "--mount", "sh", "-ec", f'{script} exec "$@"', self.accounts]
        return subprocess.Popen(
            [*become, "setpriv", *identity, sys.executable, "-I", "-c", PROGRAM, self.config,
             *words],
            stdin=subprocess.DEVNULL, **options,
        )  # fmt: skip

    def submit(self, *words, **options):
        return finish(self.start(*words, **options))


def finish(process) -> Answer:
    out, said = process.communicate(timeout=90)
    pairs = [record.partition("=") for record in out.split("\0")[:-1]]
    return Answer(process.returncode, {name: value for name, _, value in pairs}, said)


@pytest.fixture
def login_node(munged):
    # Not below pytest's directories, which are closed to others.
    directory = Path(tempfile.mkdtemp(prefix="shifter-submission-"))
    directory.chmod(0o755)
    yield LoginNode(directory, munged)
    shutil.rmtree(directory)


@pytest.fixture
def submit(login_node, gateway):
    """`submit("--image=x", user=ALICE)`: with the real gateway."""
    login_node.use(gateway.url)
    return login_node.submit


@pytest.fixture
def push_new(push_image, make_layer):
    """An image in the registry that nobody has pulled."""

    def push():
        content = make_layer(("data", os.urandom(1000)))
        return push_image(f"submission/new{next(_numbers)}:1", [content])

    return push
