# SPDX-License-Identifier: BSD-3-Clause
"""~/.udiRoot/.cred: its form, its modes, and the tricks that it does not fall for."""

from __future__ import annotations

import os
import stat

import pytest

from shifter_cli.errors import CredentialFileError
from shifter_cli.logins import credentials
from shifter_cli.logins.credentials import CredentialFile


@pytest.fixture
def file(tmp_path):
    return CredentialFile(str(tmp_path), os.getuid())


@pytest.fixture
def directory(tmp_path):
    path = tmp_path / ".udiRoot"
    path.mkdir()
    return path


def test_login_is_one_line_of_system_location_and_credential(file, tmp_path):
    file.store("mycluster", "default", "MUNGE:AwQ=:")

    assert (tmp_path / ".udiRoot/.cred").read_text() == "mycluster:default=MUNGE:AwQ=:\n"


def test_directory_and_file_are_closed_to_others_whatever_the_umask(file, tmp_path):
    before = os.umask(0o277)
    try:
        file.store("mycluster", "default", "MUNGE:x:")
    finally:
        os.umask(before)

    assert stat.S_IMODE((tmp_path / ".udiRoot").stat().st_mode) == 0o700
    assert stat.S_IMODE((tmp_path / ".udiRoot/.cred").stat().st_mode) == 0o600


def test_open_directory_and_file_are_closed_at_the_next_login(file, directory):
    directory.chmod(0o777)
    (directory / ".cred").write_text("")
    (directory / ".cred").chmod(0o666)

    file.store("mycluster", "default", "MUNGE:x:")

    assert stat.S_IMODE(directory.stat().st_mode) == 0o700
    assert stat.S_IMODE((directory / ".cred").stat().st_mode) == 0o600


def test_second_login_replaces_its_line_in_place_and_keeps_the_others(file, directory):
    (directory / ".cred").write_text("# mine\na:default=MUNGE:1:\nb:reg=MUNGE:2:\na:reg=MUNGE:3:\n")

    file.store("a", "default", "MUNGE:9:")

    assert (directory / ".cred").read_text() == (
        "# mine\na:default=MUNGE:9:\nb:reg=MUNGE:2:\na:reg=MUNGE:3:\n"
    )


def test_locations_are_those_of_the_system(file, directory):
    (directory / ".cred").write_text(
        "a:default=MUNGE:1=:\n a:host:5000 = MUNGE:2: \nb:default=MUNGE:3:\n"
        "#a:old=MUNGE:4:\nnonsense\na:=MUNGE:5:\na=MUNGE:6:\n"
    )

    assert file.locations("a") == {"default": "MUNGE:1=:", "host:5000": "MUNGE:2:"}


def test_nobody_logged_in_is_no_error(file):
    assert file.locations("a") == {}


def test_logout_removes_one_line(file):
    file.store("a", "default", "MUNGE:1:")
    file.store("a", "reg", "MUNGE:2:")

    file.remove("a", "default")

    assert file.locations("a") == {"reg": "MUNGE:2:"}


def test_unreadable_bytes_of_other_lines_survive(file, directory):
    (directory / ".cred").write_bytes(b"# caf\xe9\n")

    file.store("a", "default", "MUNGE:1:")

    assert (directory / ".cred").read_bytes() == b"# caf\xe9\na:default=MUNGE:1:\n"


def test_link_instead_of_the_file_is_neither_read_nor_written(file, directory, tmp_path):
    victim = tmp_path / "victim"
    victim.write_text("a:default=MUNGE:1:\n")
    (directory / ".cred").symlink_to(victim)

    with pytest.raises(CredentialFileError, match="symbolic link"):
        file.locations("a")
    with pytest.raises(CredentialFileError, match="symbolic link"):
        file.store("a", "default", "MUNGE:9:")
    assert victim.read_text() == "a:default=MUNGE:1:\n"


def test_link_instead_of_the_directory_is_neither_read_nor_written(file, tmp_path):
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (tmp_path / ".udiRoot").symlink_to(elsewhere)

    with pytest.raises(CredentialFileError, match="symbolic link"):
        file.locations("a")
    with pytest.raises(CredentialFileError, match="symbolic link"):
        file.store("a", "default", "MUNGE:9:")
    assert list(elsewhere.iterdir()) == []


def test_link_put_where_the_new_file_is_written_is_replaced(file, directory, tmp_path):
    victim = tmp_path / "victim"
    victim.write_text("precious")
    (directory / ".cred.partial").symlink_to(victim)

    file.store("a", "default", "MUNGE:1:")

    assert victim.read_text() == "precious"
    assert file.locations("a") == {"default": "MUNGE:1:"}


def test_pipe_instead_of_the_file_does_not_hang(file, directory):
    os.mkfifo(directory / ".cred")

    with pytest.raises(CredentialFileError, match="not a regular file"):
        file.locations("a")


def test_file_of_another_user_is_refused(directory, tmp_path):
    other = CredentialFile(str(tmp_path), os.getuid() + 1)

    with pytest.raises(CredentialFileError, match="not to you"):
        other.locations("a")


def test_home_that_is_no_directory_holds_no_logins():
    assert CredentialFile("/dev/null", os.getuid()).locations("a") == {}


def test_home_that_is_no_directory_cannot_keep_logins():
    with pytest.raises(CredentialFileError, match="cannot write /dev/null/.udiRoot/.cred: Not a"):
        CredentialFile("/dev/null", os.getuid()).store("a", "default", "MUNGE:1:")


@pytest.mark.parametrize(
    ("location", "username", "password"),
    [
        ("", "bob", "x"),
        ("a=b", "bob", "x"),
        ("a b", "bob", "x"),
        ("a\nb", "bob", "x"),
        ("#a", "bob", "x"),
        ("reg", "", "x"),
        ("reg", "bob", ""),
        ("reg", "b:ob", "x"),
    ],
)
def test_login_that_could_not_be_read_back_is_refused(location, username, password):
    with pytest.raises(CredentialFileError):
        credentials.require_login(location, username, password)


def test_password_may_hold_anything():
    credentials.require_login("host:5000", "bob", 'pa:ss"w =#')
