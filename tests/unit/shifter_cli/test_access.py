# SPDX-License-Identifier: BSD-3-Clause
"""Access lists as typed."""

from __future__ import annotations

import types

import pytest

from shifter_cli.access import AccessLists
from shifter_cli.errors import AccessListError


@pytest.fixture(autouse=True)
def accounts(monkeypatch):
    users = {"alice": 1001, "bob": 1002, "root": 0, "1abc": 1003}
    groups = {"projecta": 2001}
    monkeypatch.setattr("pwd.getpwnam", lambda n: types.SimpleNamespace(pw_uid=users[n]))
    monkeypatch.setattr("grp.getgrnam", lambda n: types.SimpleNamespace(gr_gid=groups[n]))


@pytest.mark.parametrize(
    ("lists", "uids"),
    [
        ([], ()),
        (["alice"], (1001,)),
        (["alice,5"], (1001, 5)),
        (["alice", "bob"], (1001, 1002)),
        (["alice, bob,"], (1001, 1002)),
        (["alice,1001"], (1001,)),
        (["1abc"], (1003,)),
    ],
)
def test_users_are_names_or_numbers(lists, uids):
    assert AccessLists.parse(lists, []).uids == uids


def test_groups_are_looked_up_among_groups():
    assert AccessLists.parse([], ["projecta,7"]) == AccessLists(gids=(2001, 7))


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("carol", "no user 'carol' on this machine"),
        ("al\0ice", "no user 'al\\\\x00ice'"),
        ("²", "no user '²'"),
        ("-5", "no user '-5'"),
        ("0", "'0' cannot stand in an access list"),
        ("root", "'root' cannot stand in an access list"),
        ("4294967295", "cannot stand"),
        ("99999999999999999999", "cannot stand"),
        ("", "names nobody"),
        (" , ", "names nobody"),
    ],
)
def test_what_would_leave_a_private_image_open_is_refused(text, words):
    with pytest.raises(AccessListError, match=words):
        AccessLists.parse([text], [])
