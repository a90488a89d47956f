# SPDX-License-Identifier: BSD-3-Clause
"""Real sshds on loopback, for an account made for these tests."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import pwd
import shutil
import socket
import subprocess
import tempfile
from pathlib import Path

import pytest

from shifter_imagegw.config import SshConfig
from shifter_imagegw.delivery.ssh import SshDelivery
from tests.integration.conftest import free_port, require_program, stop_process, wait_until

ACCOUNT = f"shifter{os.getpid()}"  # of this run alone: another may go on beside it


@dataclasses.dataclass
class SshServer:
    """An sshd; what it keeps below `directory` every account can reach."""

    directory: Path
    port: int
    options: list[str]  # for the client
    prefix: tuple[str, ...] = ()  # of the command
    process: subprocess.Popen[bytes] | None = None

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"

    @property
    def key(self) -> Path:
        return self.directory / "key"

    def start(self) -> None:
        config = self.directory / "sshd_config"
        command = [*self.prefix, "/usr/sbin/sshd", "-D", "-e", "-f", config]
        with (self.directory / "sshd.log").open("ab") as log:
            self.process = subprocess.Popen(command, stdout=log, stderr=log)
        wait_until(self._answers, what="sshd")

    def stop(self) -> None:
        if self.process is not None:
            with contextlib.suppress(pytest.fail.Exception):  # those that it waits for leave none
                wait_until(lambda: not self.sessions(), seconds=2)
            self.signal_sessions(9)
            stop_process(self.process)
            self.process = None

    def sessions(self) -> list[int]:
        """The processes that serve its connections, and what they run."""
        assert self.process is not None
        found, tree = [], [self.process.pid]
        while tree:
            pid = tree.pop()
            with contextlib.suppress(FileNotFoundError, ProcessLookupError):
                children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
                tree += map(int, children)
                found += map(int, children)
        return found

    def signal_sessions(self, number: int) -> list[int]:
        """Send all of them a signal; those that end with another that was killed need none."""
        met = self.sessions()
        for pid in met:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, number)
        return met

    def _answers(self) -> bool:
        try:
            with socket.create_connection(("127.0.0.1", self.port), 5) as connection:
                return connection.recv(4) == b"SSH-"
        except OSError:
            return False


@pytest.fixture(scope="session")
def account():
    """A user who can log in, and nothing else."""
    home = tempfile.mkdtemp(prefix="shifter-home-")
    command = ["useradd", "--home-dir", home, "--shell", "/bin/sh", "--password", "*", ACCOUNT]
    subprocess.run(command, check=True)
    try:
        known = pwd.getpwnam(ACCOUNT)
        os.chown(home, known.pw_uid, known.pw_gid)
        yield known
    finally:
        subprocess.run(["userdel", ACCOUNT], check=True, capture_output=True)
        shutil.rmtree(home)


@pytest.fixture(scope="session")
def separation_directory():
    """sshd wants it, and no package makes it where nothing starts daemons."""
    path = Path("/run/sshd")
    if path.exists():
        yield
        return
    path.mkdir(mode=0o755)
    yield
    path.rmdir()


@contextlib.contextmanager
def running_sshd(prefix=()):
    require_program("sshd")
    directory = Path(tempfile.mkdtemp(prefix="shifter-sshd-"))
    directory.chmod(0o755)
    port = free_port()
    for name in ("host_key", "key"):
        command = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", directory / name]
        subprocess.run(command, check=True)
    host_key = (directory / "host_key.pub").read_text()
    (directory / "known_hosts").write_text(f"[127.0.0.1]:{port} {host_key}")
    shutil.copy(directory / "key.pub", directory / "authorized_keys")
    (directory / "sshd_config").write_text(
        f"ListenAddress 127.0.0.1\nPort {port}\nHostKey {directory}/host_key\nPidFile none\n"
        f"AuthorizedKeysFile {directory}/authorized_keys\nStrictModes no\nUsePAM no\n"
        "PasswordAuthentication no\nSubsystem sftp internal-sftp\nMaxStartups 100\n"
    )
    options = ["-o", "StrictHostKeyChecking=yes"]
    options += ["-o", f"UserKnownHostsFile={directory}/known_hosts"]
    server = SshServer(directory, port, options, tuple(prefix))
    try:
        server.start()
        yield server
    finally:
        server.stop()
        shutil.rmtree(directory)


@pytest.fixture(scope="session")
def shared_sshd(account, separation_directory):
    with running_sshd() as server:
        yield server


@pytest.fixture(scope="session")
def own_directory(account):
    """A directory of which the second host has one of its own."""
    path = Path(tempfile.mkdtemp(prefix="shifter-own-"))
    os.chown(path, account.pw_uid, account.pw_gid)
    yield path
    shutil.rmtree(path)


@pytest.fixture(scope="session")
def shared_second_sshd(account, separation_directory, own_directory):
    mount = f'mount -t tmpfs -o uid={account.pw_uid} test {own_directory} && exec "$@"'
    with running_sshd(("unshare", "--mount", "sh", "-c", mount, "sh")) as server:
        yield server


@pytest.fixture
def sshd(shared_sshd):
    """A test may stop it: the next one finds it running."""
    if shared_sshd.process is None:
        shared_sshd.start()
    return shared_sshd


@pytest.fixture
def second_sshd(shared_second_sshd, shared_sshd):
    """Another host, to which the key of the first leads too, with an `own_directory` of its own."""
    if shared_second_sshd.process is None:
        shared_second_sshd.start()
    public = (shared_sshd.directory / "key.pub").read_text()
    (shared_second_sshd.directory / "authorized_keys").write_text(public)
    known = (shared_second_sshd.directory / "known_hosts").read_text()
    with (shared_sshd.directory / "known_hosts").open("a") as file:
        file.write(known)
    return shared_second_sshd


@pytest.fixture
def image_dir(account):
    """The image directory, as the hosts of the system see it."""
    path = Path(tempfile.mkdtemp(prefix="shifter-images-"))
    os.chown(path, account.pw_uid, account.pw_gid)
    yield path
    shutil.rmtree(path)


@pytest.fixture
def make_delivery(sshd, image_dir, tmp_path):
    """`make_delivery(hosts=…, …)`: a delivery to the running sshd, changed as said."""

    def make(*, hosts=None, directory=None, options=(), stripe_count=0, **ssh):
        settings = {
            "hosts": hosts or (sshd.address,),
            "username": ACCOUNT,
            "key": sshd.key,
            "ssh_options": (*options, *sshd.options),
            "scp_options": (*options, *sshd.options),
        }
        return SshDelivery(
            "cluster",
            directory or image_dir,
            SshConfig(**(settings | ssh)),
            staging_directory=tmp_path / "expand",
            stripe_count=stripe_count,
        )

    return make


@pytest.fixture
def delivery(make_delivery):
    return make_delivery()
