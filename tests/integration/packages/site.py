# SPDX-License-Identifier: BSD-3-Clause
"""A whole site on one machine, made of what the packages brought and of their own examples."""

from __future__ import annotations

import json
import socket
import urllib.request

from tests.integration.packages.machine import Machine

USER = "alice"
SYSTEM = "mycluster"
IMAGE = "packages/app:1"

_CONFIGURE = """
cd /etc/shifter
registry="s|https://registry-1.docker.io|{registry}|"
gateway="s|^imageGateway = .*|imageGateway = http://127.0.0.1:{port}|"
sed "$registry" imagemanager.json.example >imagemanager.json
sed "$gateway" udiRoot.conf.example >udiRoot.conf
useradd --create-home {user}
"""
_START_MUNGE = """
[ ! -S /run/munge/munge.socket.2 ] || exit 0
install -d -o munge -g munge -m 0755 /run/munge
setpriv --reuid=munge --regid=munge --clear-groups munged
"""
_START_GATEWAY = """
cd /
umask 0077
exec </dev/null >/tmp/gateway.log 2>&1
setsid setpriv --reuid=shifter --regid=shifter --init-groups --no-new-privs \\
    shifter-gateway serve --bind 127.0.0.1:{port} &
echo $! >/run/gateway.pid
"""


class Site:
    """The commands that an administrator types after installing, and those of a user."""

    def __init__(self, machine: Machine, registry: str, port: int) -> None:
        self.machine = machine
        self.registry = registry
        self.port = port

    def configure(self) -> None:
        script = _CONFIGURE.format(registry=self.registry, port=self.port, user=USER)
        self.machine.shell(script)

    def start(self) -> None:
        self.machine.shell(_START_MUNGE)
        self.machine.shell(_START_GATEWAY.format(port=self.port))

    def is_up(self) -> bool:
        try:
            with urllib.request.urlopen(
                f"http://127.0.0.1:{self.port}/readyz", timeout=5
            ) as answer:
                return bool(json.load(answer))
        except OSError:
            return False

    def pull(self) -> str:
        return self.machine.run("shifterimg", "pull", IMAGE, user=USER).stdout

    def images(self) -> str:
        return self.machine.run("shifterimg", "images", user=USER).stdout

    def launch(self, *words: str) -> str:
        return self.machine.run("shifter", f"--image={IMAGE}", *words, user=USER).stdout


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])
