# SPDX-License-Identifier: BSD-3-Clause
"""The file in which docker and podman keep logins."""

from __future__ import annotations

import base64
import json
import os

import pytest

from shifter_cli.errors import LoginFileError
from shifter_cli.logins import config_file


@pytest.fixture
def read(tmp_path):
    def read(content):
        path = tmp_path / "config.json"
        path.write_text(content if isinstance(content, str) else json.dumps(content))
        return config_file.read(str(path))

    return read


def auth(login):
    return {"auth": base64.b64encode(login.encode()).decode()}


def test_a_login_is_read_with_every_colon_of_its_password(read):
    entries = read({"auths": {"https://index.docker.io/v1/": auth("bob:pa:ss")}})

    assert entries["docker.io"].login == "bob:pa:ss"
    assert entries["docker.io"].user == "bob"


def test_no_password_is_shown_with_an_entry(read):
    entry = read({"auths": {"example.org": auth("bob:secret")}})["example.org"]

    assert "secret" not in repr(entry)


def test_a_store_has_the_logins_that_the_file_only_names(read):
    entries = read({"auths": {"example.org": {}}, "credsStore": "secretservice"})

    assert (entries["example.org"].helper, entries["example.org"].login) == ("secretservice", "")


def test_a_helper_of_one_registry_goes_before_the_store(read):
    entries = read(
        {
            "auths": {"example.org": {}, "other.org": {}},
            "credsStore": "secretservice",
            "credHelpers": {"example.org": "pass"},
        }
    )

    assert [entries[name].helper for name in ("example.org", "other.org")] == [
        *("pass", "secretservice"),
    ]


def test_a_registry_that_nothing_is_known_of_is_no_entry(read):
    assert read({"auths": {"example.org": {}}}) == {}


def test_an_identity_token_is_told_from_a_login(read):
    entries = read({"auths": {"example.org": {**auth("<token>:"), "identitytoken": "ey…"}}})

    assert entries["example.org"].is_identity_token
    assert entries["example.org"].login == ""


@pytest.mark.parametrize(
    "content", ['{"auths": 3}', '{"auths": {"x": 4}}', "{}", '{"auths": null}']
)
def test_what_is_not_of_the_form_is_no_login(read, content):
    assert read(content) == {}


@pytest.mark.parametrize("content", ["", "[]", "{", "[" * 100_000])
def test_a_file_that_is_no_json_object_is_named(read, content, tmp_path):
    with pytest.raises(LoginFileError, match=str(tmp_path / "config.json")):
        read(content)


def test_a_file_that_is_not_there_has_no_logins(tmp_path):
    assert config_file.read(str(tmp_path / "config.json")) == {}


def test_a_fifo_keeps_nobody_waiting(tmp_path):
    os.mkfifo(tmp_path / "config.json")

    with pytest.raises(LoginFileError, match="not a regular file"):
        config_file.read(str(tmp_path / "config.json"))


def test_a_file_of_somebody_else_is_refused(read, monkeypatch):
    owner = os.getuid()
    monkeypatch.setattr("os.getuid", lambda: owner + 1)
    monkeypatch.setattr("shifter_cli.logins.config_file._ROOT", -1)

    with pytest.raises(LoginFileError, match=f"belongs to user {owner}, not to you"):
        read({})


def test_a_file_without_end_is_refused(read):
    with pytest.raises(LoginFileError, match="larger than 1 MiB"):
        read(" " * (1 << 21))


@pytest.fixture
def closed(monkeypatch):
    """Nothing may be opened, by whatever rights the tests run with."""

    def refuse(*_arguments, **_options):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("os.open", refuse)


def test_a_home_that_is_closed_to_the_user_has_no_logins(tmp_path, closed):
    # Whose file is not even seen, as below root's home after `sudo -u`.
    assert config_file.read(str(tmp_path / "closed/config.json")) == {}


def test_a_file_that_is_seen_and_closed_is_an_error(tmp_path, request):
    (tmp_path / "config.json").touch()
    request.getfixturevalue("closed")

    with pytest.raises(LoginFileError, match="Permission denied"):
        config_file.read(str(tmp_path / "config.json"))
