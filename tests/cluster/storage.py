# SPDX-License-Identifier: BSD-3-Clause
"""The cluster's shared filesystem: a GlusterFS on which root has no rights, over TCP."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

from tests.cluster.accounts import ALICE, BOB, GATEWAY, PROJECT
from tests.cluster.places import PLACE, Place, World
from tests.integration.conftest import require_program, wait_until

ADDRESS = "10.77.0.200"
CLIENT = "gluster.vol"

_PORT = 24007

_SERVER = f"""\
volume disk
  type storage/posix
  option directory {PLACE}/brick
end-volume
volume access
  type features/access-control
  subvolumes disk
end-volume
volume locks
  type features/locks
  subvolumes access
end-volume
volume threads
  type performance/io-threads
  subvolumes locks
end-volume
volume server
  type protocol/server
  option transport-type socket
  option transport.socket.bind-address {ADDRESS}
  option transport.socket.listen-port {_PORT}
  option auth.addr.threads.allow *
  option root-squash on
  subvolumes threads
end-volume
"""

_CLIENT = f"""\
volume remote
  type protocol/client
  option transport-type socket
  option remote-host {ADDRESS}
  option remote-port {_PORT}
  option remote-subvolume threads
  option ping-timeout 0
end-volume
volume behind
  type performance/write-behind
  subvolumes remote
end-volume
"""

# What is there, whose, and with which mode. Nobody but root lists the caches: see udiRoot.conf.
_DIRECTORIES = (
    ("images", GATEWAY, 0o755),
    ("home", 0, 0o755),
    ("home/alice", ALICE, 0o700),
    ("home/bob", BOB, 0o700),
    ("scratch", 0, 0o1777),
    ("caches", 0, 0o1733),
)


class Storage:
    """The server, on a host of its own."""

    def __init__(self, world: World) -> None:
        self.brick = world.directory / "brick"
        self.brick.mkdir()
        for name, owner, mode in _DIRECTORIES:
            directory = self.brick / name
            directory.mkdir()
            os.chown(directory, owner, owner)
            directory.chmod(mode)
        project = self.brick / "project"
        project.mkdir()
        os.chown(project, 0, PROJECT)
        project.chmod(0o2770)
        (world.directory / "server.vol").write_text(_SERVER)
        (world.directory / "etc/shifter" / CLIENT).write_text(_CLIENT)
        self._start(world)

    def _start(self, world: World) -> None:
        host = world.place.start(
            "unshare",
            "--net",
            "sh",
            "-c",
            "echo ready; exec sleep infinity",
            stdout=subprocess.PIPE,
        )
        assert host.stdout is not None
        assert host.stdout.readline() == b"ready\n"
        host.stdout.close()
        (pid,) = Path(f"/proc/{host.pid}/task/{host.pid}/children").read_text().split()
        world.connect(int(pid), ADDRESS)
        place = Place(files=world.pid, network=int(pid), processes=world.pid)
        with (world.directory / "logs/glusterfsd").open("wb") as log:
            server = place.start(
                require_program("glusterfsd"), "--no-daemon", f"--volfile={PLACE}/server.vol",
                f"--pid-file={PLACE}/glusterfsd.pid", "--log-file=-", stdout=log, stderr=log,
            )  # fmt: skip
        world.keep(host)
        world.keep(server)
        wait_until(lambda: _listens(int(pid)), what="glusterfsd")


def _listens(pid: int) -> bool:
    listening = f":{_PORT:04X} 00000000:0000 0A"
    return any(
        listening in Path(f"/proc/{pid}/net/{table}").read_text() for table in ("tcp", "tcp6")
    )
