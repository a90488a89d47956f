# SPDX-License-Identifier: BSD-3-Clause
"""The key pair in ~/.udiRoot: found, made once by many, and never a reason to fail a job."""

from __future__ import annotations

import concurrent.futures
import os
import subprocess
import types
from pathlib import Path

import pytest

from shifter_cli.submission import ssh_key
from shifter_cli.submission.errors import SshKeyError
from tests.unit.shifter_cli.submission.conftest import IMAGE_ID

ALL = ("ssh-ed25519", "ssh-rsa")
BY_ID = f"--image=id:{IMAGE_ID}"


def make_pair(path, kind="ed25519", passphrase=""):
    command = ["ssh-keygen", "-q", "-t", kind, "-N", passphrase, "-f", path]
    subprocess.run(command, stdin=subprocess.DEVNULL, check=True)
    return " ".join(Path(f"{path}.pub").read_text().split()[:2])


def private_half_of(path):
    """The public key that really belongs to a private one."""
    command = ["ssh-keygen", "-y", "-P", "", "-f", path]
    printed = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    return " ".join(printed.split()[:2])


@pytest.fixture
def home(tmp_path, monkeypatch):
    """The home of whoever runs this."""
    directory = tmp_path / "home"
    directory.mkdir()
    account = types.SimpleNamespace(pw_dir=str(directory), pw_name="alice")
    monkeypatch.setattr("pwd.getpwuid", lambda uid: account)
    return directory


@pytest.fixture
def keys(home):
    directory = home / ".udiRoot"
    directory.mkdir(mode=0o700)
    return directory


def key_of(home, supported=ALL):
    return ssh_key.public_key(str(home), os.getuid(), supported)


def test_pair_is_made_where_there_is_none(home):
    key = key_of(home)

    keys = home / ".udiRoot"
    assert key == private_half_of(keys / "id_ed25519.key")
    assert sorted(os.listdir(keys)) == ["id_ed25519.key", "id_ed25519.key.pub"]
    assert keys.stat().st_mode & 0o777 == 0o700
    assert (keys / "id_ed25519.key").stat().st_mode & 0o777 == 0o600


def test_pair_is_made_once(home):
    assert key_of(home) == key_of(home)


def test_job_gets_the_public_half(submit, home):
    answer = submit(BY_ID, "--ssh-key")

    assert answer.code == 0
    assert answer.records["SHIFTER_SSH_PUBKEY"] == key_of(home)


def test_job_without_an_image_needs_no_key(submit, home):
    assert (submit("--ssh-key").records, os.listdir(home)) == ({}, [])


def test_pair_of_the_original_is_used(keys, home):
    made = make_pair(keys / "id_rsa.key", "rsa")

    assert key_of(home) == made


def test_pair_that_the_nodes_do_not_understand_is_left_alone(keys, home):
    make_pair(keys / "id_rsa.key", "rsa")

    assert key_of(home, ("ssh-ed25519",)).startswith("ssh-ed25519 ")


def test_types_are_those_of_the_sites_sshd(submit, keys, monkeypatch):
    make_pair(keys / "id_rsa.key", "rsa")
    of_site = {"/site": ("ssh-ed25519",)}
    monkeypatch.setattr("shifter_runtime.job.ssh_plan.supported_keys", of_site.__getitem__)

    answer = submit(BY_ID, "--ssh-key", conf="optUdiImage=/site")

    assert answer.records["SHIFTER_SSH_PUBKEY"].startswith("ssh-ed25519 ")


@pytest.mark.parametrize("content", [None, b"", b"\n"])
def test_lost_public_half_is_made_anew(content, keys, home):
    made = make_pair(keys / "id_ed25519.key")
    public = keys / "id_ed25519.key.pub"
    public.unlink()
    if content is not None:
        public.write_bytes(content)

    assert key_of(home) == made
    assert public.read_text().startswith(made)


def test_public_half_of_a_lost_private_one_is_not_believed(keys, home):
    stale = make_pair(keys / "id_ed25519.key")
    (keys / "id_ed25519.key").unlink()

    assert key_of(home) != stale
    assert key_of(home) == private_half_of(keys / "id_ed25519.key")


def test_nobody_finds_a_new_private_half_beside_an_old_public_one(keys, home, monkeypatch):
    make_pair(keys / "id_ed25519.key")
    (keys / "id_ed25519.key").unlink()
    real = os.replace
    found = []

    def watched(*arguments, **options):
        found.append(sorted(name for name in os.listdir(keys) if name.startswith("id_")))
        real(*arguments, **options)

    monkeypatch.setattr(os, "replace", watched)

    key_of(home)

    assert found == [["id_ed25519.key"]]


def test_nobody_is_asked_for_a_passphrase(keys, home, monkeypatch, tmp_path):
    make_pair(keys / "id_ed25519.key", passphrase="secret")
    (keys / "id_ed25519.key.pub").unlink()
    asked = tmp_path / "asked"
    program = tmp_path / "askpass"
    program.write_text(f"#!/bin/sh\n: >{asked}\necho secret\n")
    program.chmod(0o755)
    monkeypatch.setenv("SSH_ASKPASS", str(program))
    monkeypatch.setenv("SSH_ASKPASS_REQUIRE", "force")

    with pytest.raises(SshKeyError, match="incorrect passphrase"):
        key_of(home)

    assert not asked.exists()


def test_many_at_once_get_one_pair(home):
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        found = set(pool.map(lambda _: key_of(home), range(16)))

    assert found == {private_half_of(home / ".udiRoot/id_ed25519.key")}
    assert sorted(os.listdir(home / ".udiRoot")) == ["id_ed25519.key", "id_ed25519.key.pub"]


def test_loser_of_the_race_uses_the_winners_pair(keys, home, monkeypatch):
    real = ssh_key._ssh_keygen
    winners = []

    def late(*arguments):
        if not winners:
            winners.append(make_pair(keys / "id_ed25519.key"))
        return real(*arguments)

    monkeypatch.setattr(ssh_key, "_ssh_keygen", late)

    assert key_of(home) == winners[0]
    assert sorted(os.listdir(keys)) == ["id_ed25519.key", "id_ed25519.key.pub"]


def test_directory_open_to_others_is_closed(keys, home):
    keys.chmod(0o775)

    key_of(home)

    assert keys.stat().st_mode & 0o777 == 0o700


def a_link(home):
    (home / "elsewhere").mkdir()
    (home / ".udiRoot").symlink_to("elsewhere")


def a_file(home):
    (home / ".udiRoot").write_text("")


def a_linked_public_half(home):
    (home / ".udiRoot").mkdir()
    make_pair(home / ".udiRoot/id_ed25519.key")
    (home / ".udiRoot/id_ed25519.key.pub").rename(home / "pub")
    (home / ".udiRoot/id_ed25519.key.pub").symlink_to("../pub")


def a_fifo(home):
    (home / ".udiRoot").mkdir()
    make_pair(home / ".udiRoot/id_ed25519.key")
    (home / ".udiRoot/id_ed25519.key.pub").unlink()
    os.mkfifo(home / ".udiRoot/id_ed25519.key.pub")


def a_damaged_public_half(home):
    (home / ".udiRoot").mkdir()
    make_pair(home / ".udiRoot/id_ed25519.key")
    (home / ".udiRoot/id_ed25519.key.pub").write_text("ssh-ed25519 AAAA")


def options_before_the_key(home):
    (home / ".udiRoot").mkdir()
    key = make_pair(home / ".udiRoot/id_ed25519.key")
    (home / ".udiRoot/id_ed25519.key.pub").write_text(f'command="x" {key}\n')


def a_passphrase(home):
    (home / ".udiRoot").mkdir()
    make_pair(home / ".udiRoot/id_ed25519.key", passphrase="secret")
    (home / ".udiRoot/id_ed25519.key.pub").unlink()


def a_home_that_is_gone(home):
    home.rmdir()


@pytest.mark.parametrize(
    ("spoil", "reason"),
    [
        (a_link, ".udiRoot is a symbolic link: remove it"),
        (a_file, ".udiRoot: Not a directory"),
        (a_linked_public_half, "id_ed25519.key.pub is a symbolic link: remove it"),
        (a_fifo, "id_ed25519.key.pub is not a regular file: remove it"),
        (a_damaged_public_half, "the public key for ssh is damaged"),
        (options_before_the_key, "is no type of a public key for ssh"),
        (a_passphrase, "incorrect passphrase"),
        (a_home_that_is_gone, ".udiRoot: No such file or directory"),
    ],
)
def test_job_goes_without_a_key_that_cannot_be_had(spoil, reason, submit, home):
    spoil(home)

    answer = submit(BY_ID, "--ssh-key")

    assert answer.code == 0
    assert "SHIFTER_SSH_PUBKEY" not in answer.records
    assert answer.said.startswith("shifter: warning: no ssh into the containers of this job: ")
    assert reason in answer.said


def test_directory_of_somebody_else_is_not_used(keys, home):
    with pytest.raises(SshKeyError, match="belongs to user .*, not to you"):
        ssh_key.public_key(str(home), os.getuid() + 1, ALL)


def test_missing_ssh_keygen_is_named(home, monkeypatch):
    monkeypatch.setenv("PATH", "/nonexistent")

    with pytest.raises(SshKeyError, match="ssh-keygen is not on this machine"):
        key_of(home)


def test_nothing_is_left_of_a_pair_that_could_not_be_made(keys, home, monkeypatch, tmp_path):
    tools = tmp_path / "tools"
    tools.mkdir()
    tool = tools / "ssh-keygen"
    # As on a full disk: the private half is written, then it fails.
    tool.write_text(
        '#!/bin/sh\nfor last; do :; done\n: >"$last"\necho "No space left" >&2\nexit 1\n'
    )
    tool.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tools}:{os.environ['PATH']}")

    with pytest.raises(SshKeyError, match="exit status 1, saying: No space left"):
        key_of(home)

    assert os.listdir(keys) == []
