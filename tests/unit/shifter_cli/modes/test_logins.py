# SPDX-License-Identifier: BSD-3-Clause
"""login, logins, logout, and which login goes where, against prepared answers of a gateway."""

from __future__ import annotations

import json
import os
import types

import pytest

from tests.unit.shifter_cli.modes.conftest import sent_logins

ACCEPTED = {"status": True, "location": "reg", "url": "https://registry.example.org"}
STORED = "mycluster:{}=MUNGE:2:\n"  # after the credential of the question


@pytest.fixture
def log_in(run, monkeypatch):
    """`shifterimg login …` as bob, whose password comes by standard input."""

    def log_in(*arguments):
        stdin = types.SimpleNamespace(readline=lambda: 'pa:ss"w\n')
        monkeypatch.setattr("sys.stdin", stdin)
        return run("login", *arguments, "--username", "bob", "--password-stdin")

    return log_in


@pytest.fixture
def cred(tmp_path):
    return tmp_path / ".udiRoot/.cred"


@pytest.fixture
def stored(monkeypatch, cred):
    """`stored("reg", …)`: logins of bob's in ~/.udiRoot/.cred, and munge left out."""

    def store(*locations):
        cred.parent.mkdir()
        cred.write_text("".join(f"mycluster:{one}=MUNGE:bob,{one}:\n" for one in locations))

    def decode(credential, *, socket=None, allow_stale=False):
        payload = credential.removeprefix("MUNGE:").removesuffix(":").replace(",", ":").encode()
        return types.SimpleNamespace(uid=os.getuid(), payload=payload)

    monkeypatch.setattr("shifter_common.munge.decode", decode)
    return store


# login


def test_a_login_is_stored_when_the_registry_accepts_it(log_in, gateway, payloads, cred):
    gateway.answer(ACCEPTED)

    result = log_in("reg")

    assert (result.code, result.stdout, result.stderr) == (0, "", "")
    assert gateway.requests[0].line == "POST /api/login/mycluster/ HTTP/1.1"
    assert json.loads(gateway.requests[0].body) == {"location": "reg"}
    assert sent_logins(payloads[0]) == {"reg": 'bob:pa:ss"w'}
    assert payloads[1] == b'bob:pa:ss"w'
    assert cred.read_text() == STORED.format("reg")


def test_a_login_by_host_is_stored_where_pulls_look_for_it(log_in, gateway, cred):
    gateway.answer(ACCEPTED)

    log_in("https://registry.example.org/")

    assert json.loads(gateway.requests[0].body) == {"location": "registry.example.org"}
    assert cred.read_text() == STORED.format("reg")


def test_login_accepts_no_wrong_password(log_in, gateway, cred):
    """Users.md 4: it did so silently."""
    words = "the registry reg refuses user 'bob': incorrect username or password"
    gateway.answer({"error": words}, status="403 Forbidden")

    result = log_in("reg")

    assert result.code == 1
    assert result.stderr == f"shifterimg: cannot log in at reg: {words}; nothing is stored\n"
    assert not cred.exists()


@pytest.mark.parametrize(
    ("status", "words"),
    [
        ("404 Not Found", "there is no location 'reg': the gateway knows default"),
        ("502 Bad Gateway", "the registry does not answer"),
    ],
)
def test_a_login_that_cannot_be_tried_is_not_stored(log_in, gateway, cred, status, words):
    gateway.answer({"error": words}, status=status)

    result = log_in("reg")

    assert result.code == 1
    assert words in result.stderr
    assert "nothing is stored; --no-verify stores it without asking" in result.stderr
    assert not cred.exists()


def test_a_login_is_not_stored_on_the_word_of_what_is_no_gateway(log_in, gateway, cred):
    gateway.answer({"hello": "world"})

    assert log_in("reg").code == 1
    assert not cred.exists()


@pytest.mark.parametrize("status", ["404 Not Found", "405 Method Not Allowed"])
def test_a_gateway_of_the_original_leaves_the_login_untried(log_in, gateway, cred, status):
    body = {"error": "Requested URL /api/login/mycluster/ not found"}
    gateway.answer(body, status=status)

    result = log_in("reg")

    assert result.code == 0
    assert "this gateway cannot ask the registry whether it is right" in result.stderr
    assert cred.read_text() == STORED.format("reg")


def test_a_registry_that_looks_at_no_login_is_told_of(log_in, gateway, cred):
    gateway.answer({**ACCEPTED, "verified": False})

    result = log_in("reg")

    assert result.code == 0
    assert "lets everybody in and has not looked at the login" in result.stderr
    assert cred.exists()


def test_no_gateway_is_asked_where_none_is_wanted(log_in, gateway, cred):
    result = log_in("reg", "--no-verify")

    assert (result.code, result.stderr, gateway.requests) == (0, "", [])
    assert cred.read_text() == "mycluster:reg=MUNGE:1:\n"


def test_an_odd_name_from_the_gateway_is_not_stored_as_a_line(log_in, gateway, cred):
    gateway.answer({**ACCEPTED, "location": "a=b\nother:x"})

    log_in("reg")

    assert cred.read_text() == STORED.format("reg")


# logins and logout


def test_logins_are_listed_without_their_passwords(run, stored, docker_login, tmp_path):
    stored("default", "reg")
    docker_login("example.org")

    result = run("logins")

    assert result.stdout.splitlines() == [
        "default      bob  ~/.udiRoot/.cred",
        "reg          bob  ~/.udiRoot/.cred",
        f"example.org  bob  {tmp_path}/.docker/config.json",
    ]
    assert run("login", "--show").stdout == result.stdout


def test_logins_are_listed_for_programs(run, stored):
    stored("reg")

    assert json.loads(run("logins", "--json").stdout) == [
        {"registry": "reg", "user": "bob", "source": "~/.udiRoot/.cred", "note": ""}
    ]


def test_no_logins_are_no_error(run):
    result = run("logins")

    assert (result.code, result.stdout, result.stderr) == (0, "", "")


def test_logout_everywhere_leaves_other_systems_alone(run, stored, cred):
    stored("default", "reg")
    cred.write_text(cred.read_text() + "other:reg=MUNGE:x:\n# a comment\n")

    assert run("logout", "--all").code == 0
    assert cred.read_text() == "other:reg=MUNGE:x:\n# a comment\n"


def test_logout_from_an_unknown_place_names_those_that_are_known(run, stored):
    stored("default", "reg")

    result = run("logout", "rag")

    assert result.code == 1
    assert ": it has default, reg" in result.stderr


def test_logout_takes_a_place_or_all(run, stored):
    stored("reg")

    assert run("logout", "reg", "--all").code == 1


# Which logins travel


READY = {"id": "abc123", "status": "READY", "itype": "docker", "tag": ["x:1"]}


@pytest.mark.parametrize(
    ("image", "sent"),
    [
        ("example.org/tool:1", {"example.org": "bob:docker"}),
        ("other.org/tool:1", {}),
        ("tool:1", {}),
    ],
)
def test_a_login_of_docker_s_travels_with_pulls_from_its_registry(
    run, gateway, payloads, docker_login, image, sent
):
    docker_login("example.org")
    gateway.answer(READY)

    run("pull", image)

    assert sent_logins(payloads[0]) == sent


def test_a_stored_login_goes_before_docker_s(run, gateway, payloads, docker_login, stored):
    docker_login("example.org")
    stored("example.org")
    gateway.answer(READY)

    run("pull", "example.org/tool:1")

    assert sent_logins(payloads[0]) == {"example.org": "bob:example.org"}


def test_a_stored_login_for_everywhere_does_not_go_to_a_registry_that_docker_knows(
    run, gateway, payloads, docker_login, stored
):
    docker_login("example.org")
    stored("default")
    gateway.answer(READY)

    run("pull", "example.org/tool:1")
    run("pull", "tool:1")

    assert sent_logins(payloads[0])["example.org"] == "bob:docker"
    assert sent_logins(payloads[1]) == {"default": "bob:default"}


def test_docker_s_file_is_read_once_however_often_is_asked(
    run, gateway, payloads, docker_login, monkeypatch
):
    from shifter_cli.logins import config_file

    read = []
    original = config_file.read
    monkeypatch.setattr(config_file, "read", lambda path: read.append(path) or original(path))
    docker_login("example.org")
    gateway.answer({**READY, "status": "PULLING"}, {**READY, "status": "PULLING"}, READY)

    run("pull", "example.org/tool:1")

    assert len(payloads) == 3
    assert len(read) == len(set(read))


def test_a_look_up_reads_no_login(run, gateway, payloads, docker_login, monkeypatch):
    monkeypatch.setattr("shifter_cli.logins.known.login_for", lambda *_: pytest.fail("was asked"))
    docker_login("example.org")
    gateway.answer(READY)

    assert run("lookup", "example.org/tool:1").code == 0
    assert payloads == [b""]
