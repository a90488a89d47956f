# SPDX-License-Identifier: BSD-3-Clause
from __future__ import annotations

from pathlib import Path

import pytest

from shifter_imagegw.config import SshConfig
from shifter_imagegw.delivery import remote_host
from shifter_imagegw.delivery.remote_host import RemoteHost
from shifter_imagegw.run import Ended


@pytest.fixture
def commands(monkeypatch):
    """What would be run, instead of running it."""
    made = []

    def attempt(command, **_):
        made.append(command)
        return Ended(status=0, output="", reason="")

    monkeypatch.setattr(remote_host, "attempt", attempt)
    return made


def host_at(address, **ssh):
    return RemoteHost(system="cori", address=address, ssh=SshConfig(hosts=(address,), **ssh))


@pytest.mark.parametrize(
    ("address", "port", "target"),
    [
        ("login1", [], "me@login1:/x"),
        ("login1:2222", ["-P", "2222"], "me@login1:/x"),
        ("fe80::1", [], "me@[fe80::1]:/x"),
        ("[fe80::1]", [], "me@[fe80::1]:/x"),
        ("[fe80::1]:22", ["-P", "22"], "me@[fe80::1]:/x"),
    ],
)
def test_a_port_may_follow_the_host(commands, address, port, target):
    host_at(address, username="me").copy(Path("/a"), "/x", 1.0)

    (command,) = commands
    assert command[-3:] == ["--", "/a", target]
    assert command[command.index("--") - 2 : command.index("--")] == (port or command[-5:-3])
    assert ("-P" in command) == bool(port)


def test_what_the_site_says_comes_first_but_nobody_is_asked_for_a_password(commands):
    options = ("-o", "ConnectTimeout=60")

    host_at("login1", scp_options=options, key=Path("/key")).copy(Path("/a"), "/x", 1.0)

    (command,) = commands
    assert command[:5] == ["scp", "-o", "BatchMode=yes", *options]
    assert command.index("ConnectTimeout=10") > 5
    assert command[command.index("-i") + 1] == "/key"
