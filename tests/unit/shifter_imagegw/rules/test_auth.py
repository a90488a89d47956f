# SPDX-License-Identifier: BSD-3-Clause
from __future__ import annotations

import json
import os
import pwd

import pytest

from shifter_common import munge
from shifter_common.errors import MungeError
from shifter_imagegw.config import GroupSource
from shifter_imagegw.errors import AuthenticationUnavailableError, NotAuthenticatedError
from shifter_imagegw.rules import auth
from shifter_imagegw.rules.auth import Authenticator, Caller

MUNGE = {
    "Authentication": "munge",
    "Platforms": {"mycluster": {"imageDir": "/i", "mungeSocketPath": "/run/m.socket"}},
}


@pytest.fixture
def munged(gateway_with, monkeypatch):
    """Authenticate with a munge that answers what the test says; the calls it got."""
    gateway = gateway_with(**MUNGE)
    calls = []

    def authenticate(answer, header="MUNGE:x:"):
        def decode(credential, *, socket):
            calls.append((credential, socket))
            if isinstance(answer, Exception):
                raise answer
            return munge.Credential(uid=1001, gid=1002, payload=answer)

        monkeypatch.setattr(auth.munge, "decode", decode)
        return Authenticator(gateway.config).caller(header, gateway.system)

    authenticate.calls = calls
    return authenticate


def mock_caller(gateway, header):
    return Authenticator(gateway.config).caller(header, gateway.system)


def test_the_caller_is_who_munge_says(munged):
    caller = munged(b"", header=" MUNGE:x: ")

    assert (caller.uid, caller.gid, caller.credentials) == (1001, 1002, {})
    assert munged.calls == [("MUNGE:x:", "/run/m.socket")]


def test_registry_credentials_ride_in_the_payload_and_are_never_shown(munged):
    payload = {"authorized_locations": {"reg": "alice:se:cret", "bad": 3, "empty": ""}}

    caller = munged(json.dumps(payload).encode())

    assert caller.credentials == {"reg": "alice:se:cret"}
    assert "cret" not in repr(caller)


@pytest.mark.parametrize("source", list(GroupSource))
def test_a_caller_has_the_groups_that_the_system_says(gateway_with, source):
    places = {"mycluster": {"imageDir": "/i", "groupsFrom": source.value}}
    gateway = gateway_with(Platforms=places)

    caller = mock_caller(gateway, "good:root:root::0:54321")

    assert caller.groups == (
        {54321} if source is GroupSource.CREDENTIAL else {54321, *os.getgrouplist("root", 54321)}
    )


@pytest.mark.parametrize(
    "payload",
    [b"[" * 99_999, b"garbage", b"\xff", b"[]", b"{}", b'{"authorized_locations": "x"}', b"null"],
)
def test_any_other_payload_means_no_registry_credentials(munged, payload):
    assert munged(payload).credentials == {}


def test_a_credential_that_munge_refuses_is_refused_with_its_reason(munged):
    with pytest.raises(NotAuthenticatedError, match="it was used before"):
        munged(MungeError("it was used before", munge.REPLAYED))


def test_a_munge_that_is_down_is_not_the_callers_fault(munged):
    with pytest.raises(AuthenticationUnavailableError) as caught:
        munged(MungeError("munged does not answer", munge.SOCKET))

    assert caught.value.status == 503


@pytest.mark.parametrize("header", [None, ""])
def test_no_credential_is_no_caller(munged, header):
    with pytest.raises(NotAuthenticatedError, match="no 'authentication' header"):
        munged(b"", header=header)


def test_a_mock_credential_is_nothing_to_munge(gateway_with):
    gateway = gateway_with(**MUNGE)

    with pytest.raises((NotAuthenticatedError, AuthenticationUnavailableError)):
        mock_caller(gateway, "good:root:root::0:0")


def test_anonymous_callers_are_let_in_only_where_the_site_says_so(gateway_with):
    closed, open_ = gateway_with(), gateway_with(AllowAnonymous=True)

    assert Authenticator(open_.config).caller_if_any(None, open_.system) is None
    with pytest.raises(NotAuthenticatedError):
        Authenticator(closed.config).caller_if_any(None, closed.system)


def test_a_bad_credential_is_no_anonymous_caller(gateway_with):
    open_ = gateway_with(AllowAnonymous=True)

    with pytest.raises(NotAuthenticatedError):
        Authenticator(open_.config).caller_if_any("bad:x:y", open_.system)


def test_the_mock_form_with_ids(gateway):
    caller = mock_caller(gateway, "good:alice:staff:token:1001:50")

    assert (caller.name, caller.uid, caller.gid) == ("alice", 1001, 50)


@pytest.mark.parametrize("header", ["good:root:root", "good:root:root:token"])
def test_the_mock_form_without_ids_looks_them_up(gateway, header):
    caller = mock_caller(gateway, header)

    assert (caller.name, caller.uid, caller.gid) == ("root", 0, 0)


@pytest.mark.parametrize(
    "header",
    ["bad:a:b", "good", "good:a", "good:a:b:c:1", "good:a:b:c:1:2:3", "good:a:b::x:y", ":"],
)
def test_any_other_mock_form_is_refused(gateway, header):
    with pytest.raises(NotAuthenticatedError):
        mock_caller(gateway, header)


def test_names_and_groups_are_looked_up_here():
    me = pwd.getpwuid(os.getuid())

    caller = Caller(uid=me.pw_uid, gid=me.pw_gid)

    assert caller.name == me.pw_name
    assert caller.groups == set(os.getgrouplist(me.pw_name, me.pw_gid)) | {me.pw_gid}


def test_a_user_whom_the_gateway_does_not_know_has_no_name_and_one_group():
    caller = Caller(uid=2**31 - 7, gid=12345)

    assert (caller.name, caller.groups) == (None, {12345})
