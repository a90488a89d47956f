# SPDX-License-Identifier: BSD-3-Clause
"""Which text is a public key, and what a site's sshd_config becomes for one user."""

from __future__ import annotations

import base64

import pytest

from shifter_runtime.errors import SetupError
from shifter_runtime.job import ssh_plan

TEMPLATE = "Port 1204\nAllowUsers ToBeReplaced\nPasswordAuthentication no\n"


def encoded(kind: str, body: bytes = bytes(36)) -> str:
    return base64.b64encode(len(kind).to_bytes(4, "big") + kind.encode() + body).decode()


KEY = f"ssh-ed25519 {encoded('ssh-ed25519')}"


@pytest.mark.parametrize(
    "kind",
    [
        "ssh-ed25519",
        "ssh-rsa",
        "ecdsa-sha2-nistp256",
        "ecdsa-sha2-nistp384",
        "ecdsa-sha2-nistp521",
    ],
)
@pytest.mark.parametrize("length", [33, 34, 35])
def test_keys_of_every_type_are_taken(kind, length):
    key = f"{kind} {encoded(kind, bytes(length))}"

    assert ssh_plan.checked_key(key) == key


def test_a_comment_and_spaces_are_left_out():
    assert ssh_plan.checked_key(f"  {KEY}  alice@login node  ") == KEY


@pytest.mark.parametrize(
    "text",
    [
        "",
        "ssh-ed25519",
        "ssh-ed25519 ",
        encoded("ssh-ed25519"),
        f"no-pty {KEY}",
        f'command="id" {KEY}',
        f"{KEY}\n{KEY}",
        f"{KEY}\r",
        f"{KEY}\0",
        f"# {KEY}",
        f"ssh-dss {encoded('ssh-dss')}",
        f"ssh-ed25519-cert-v01@openssh.com {encoded('ssh-ed25519-cert-v01@openssh.com')}",
        f"ssh-rsa {encoded('ssh-ed25519')}",
        f"ssh-ed25519 {encoded('ssh-ed25519', b'')}",
        f"ssh-ed25519 {encoded('ssh-ed25519')[:-1]}",
        f"ssh-ed25519 {encoded('ssh-ed25519')}====",
        f"ssh-ed25519 {encoded('ssh-ed25519')[:-4]}=AAA",
        f"ssh-ed25519 {encoded('ssh-ed25519')[:-2]}*/",
        f"ssh-ed25519 {'A' * 17_000}",
        f"ssh-ed25519 {encoded('ssh-ed25519')} é",
    ],
)
def test_anything_else_is_refused(text):
    with pytest.raises(SetupError):
        ssh_plan.checked_key(text)


def test_a_key_that_this_sshd_does_not_know_is_told_apart():
    with pytest.raises(SetupError, match="knows no ssh-rsa keys, only ssh-ed25519"):
        ssh_plan.checked_key(f"ssh-rsa {encoded('ssh-rsa')}", ("ssh-ed25519",))


def test_the_configuration_names_the_user():
    text = ssh_plan.complete(TEMPLATE, "alice", {}, "/site")

    assert "AllowUsers alice\n" in text
    assert "ToBeReplaced" not in text


@pytest.mark.parametrize(
    ("name", "pattern"),
    [("alice@example.org", "alice?example.org"), ("a*", "a?"), ("!root", "?root"), ("a,b", "a?b")],
)
def test_no_letter_of_a_name_is_more_than_a_letter(name, pattern):
    assert f"AllowUsers {pattern}\n" in ssh_plan.complete(TEMPLATE, name, {}, "/site")


@pytest.mark.parametrize("name", ["", "two words", "two\nlines", "tab\there"])
def test_names_that_cannot_be_said_are_refused(name):
    with pytest.raises(SetupError):
        ssh_plan.complete(TEMPLATE, name, {}, "/site")


@pytest.mark.parametrize(
    "template",
    ["", "Port 1204\n", "#AllowUsers ToBeReplaced\n", "AllowUsers ToBeReplaced bob\n"],
)
def test_a_template_must_keep_everybody_else_out(template):
    with pytest.raises(SetupError, match="AllowUsers ToBeReplaced"):
        ssh_plan.complete(template, "alice", {}, "/site")


def test_variables_are_quoted_and_come_before_the_sites_lines():
    variables = {"PLAIN": "1", "ODD": 'a "b" \\ # c', "EMPTY": ""}

    text = ssh_plan.complete(TEMPLATE, "alice", variables, "/site")

    assert text.split("\n")[1:3] == [
        'SetEnv "PLAIN=1" "ODD=a \\"b\\" \\\\ # c" "EMPTY="',
        "Port 1204",
    ]


def test_a_variable_of_several_lines_cannot_become_a_line_of_its_own():
    text = ssh_plan.complete(TEMPLATE, "alice", {"BAD": 'x"\nAllowUsers bob'}, "/site")

    assert "bob" not in text
