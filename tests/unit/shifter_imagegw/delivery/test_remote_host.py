# SPDX-License-Identifier: BSD-3-Clause
from __future__ import annotations

import contextlib
import os
from pathlib import Path

import pytest

from shifter_imagegw.config import SshConfig
from shifter_imagegw.delivery import remote_host, remote_scripts
from shifter_imagegw.delivery.remote_host import HostLostError, RemoteHost
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


@pytest.mark.parametrize("shell", ["dash", "bash"])
def test_whatever_shell_is_there_reads_the_number_and_none_of_the_script(
    tmp_path, monkeypatch, shell
):
    # An ssh that goes nowhere, to an account whose profile greets.
    ssh = tmp_path / "ssh"
    ssh.write_text(f"#!/bin/sh\necho welcome\nexec {shell} -s\n")
    ssh.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    (tmp_path / "it's an image").write_bytes(b"0123456789")
    script = remote_scripts.ENTER + remote_scripts.SEND

    file = host_at("login1").open_file(script, str(tmp_path), "it's an image")
    with contextlib.closing(file):
        file.begin_at(4)

        assert (file.size, file.read(100)) == (10, b"456789")


def test_an_ssh_that_ends_at_once_is_a_lost_host(tmp_path, monkeypatch):
    ssh = tmp_path / "ssh"
    ssh.write_text("#!/bin/sh\necho 'no route' >&2\nexit 255\n")
    ssh.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")

    with pytest.raises(HostLostError, match="host 'login1' of system 'cori' by ssh: no route"):
        host_at("login1").open_file(remote_scripts.SEND, str(tmp_path), "image")
