# SPDX-License-Identifier: BSD-3-Clause
from __future__ import annotations

import json

import pytest

from shifter_imagegw.registry import (
    Credentials,
    CredentialsNotSentError,
    Endpoint,
    RegistryError,
    RegistryNotPermittedError,
    check_login,
)
from tests.unit.shifter_imagegw.registry.fake_registry import Reply

MALLORY = Credentials("mallory", "secret-guess")


@pytest.fixture
def check(tls_registry, certificate):
    def check(credentials, auth_method="token"):
        endpoint = Endpoint(tls_registry.url, certificate, auth_method, "site")
        return check_login(endpoint, credentials, timeout=(5, 5))

    return check


@pytest.mark.parametrize("access", ["basic", "bearer"])
def test_a_login_is_accepted_that_the_registry_accepts(tls_registry, check, alice, access):
    tls_registry.access = access

    assert check(alice) is True


@pytest.mark.parametrize("access", ["basic", "bearer"])
def test_a_login_is_refused_in_the_registrys_words_without_the_password(
    tls_registry, check, access
):
    tls_registry.access = access

    with pytest.raises(RegistryNotPermittedError) as refusal:
        check(MALLORY)

    assert f"the registry 127.0.0.1:{tls_registry.port} refuses user 'mallory'" in str(
        refusal.value
    )
    assert "fake unauthorized" in str(refusal.value)
    assert "secret-guess" not in str(refusal.value)


def test_nothing_of_a_repository_is_asked_for(tls_registry, check, alice):
    tls_registry.access = "bearer"

    check(alice)

    paths = [request.path for request in tls_registry.requests]
    assert [path.partition("?")[0] for path in paths] == ["/v2/", "/token", "/v2/"]
    assert "scope" not in paths[1]


def test_a_registry_that_lets_everybody_in_has_not_looked(check, tls_registry):
    assert check(MALLORY) is False
    assert tls_registry.requests[0].authorization is None


def test_no_password_goes_over_plain_http(registry):
    registry.access = "basic"

    with pytest.raises(CredentialsNotSentError, match="plain http"):
        check_login(Endpoint(registry.url), MALLORY, timeout=(5, 5))

    assert registry.requests == []


def test_no_password_goes_to_a_token_server_over_plain_http(tls_registry, check, alice, other_host):
    tls_registry.access, tls_registry.realm = "bearer", f"{other_host.url}/token"

    with pytest.raises(RegistryError, match="which is not trusted"):
        check(alice)

    assert other_host.requests == []


def test_a_token_server_in_a_network_of_its_own_is_not_asked(tls_registry, check, alice):
    tls_registry.access, tls_registry.realm = "bearer", "https://169.254.169.254/token"

    with pytest.raises(RegistryError, match="does not follow it there"):
        check(alice)


def test_a_redirect_is_not_followed(tls_registry, check, alice, other_host):
    tls_registry.script("/v2/", Reply(307, headers={"Location": other_host.url}))

    with pytest.raises(RegistryError, match="does not say how to log in"):
        check(alice)

    assert other_host.requests == []


@pytest.mark.parametrize(
    "reply",
    [
        Reply(500),
        Reply(404, b"<html>", {"Content-Type": "text/html"}),
        Reply(401, json.dumps({"errors": [{"code": "\x1b[2J"}]}).encode()),
        Reply(401, b"", {"WWW-Authenticate": "???"}),
    ],
)
def test_what_is_no_registry_is_said_to_be_none(tls_registry, check, alice, reply):
    tls_registry.script("/v2/", reply)

    with pytest.raises(RegistryError, match="does not say how to log in") as refusal:
        check(alice)

    assert str(refusal.value).isprintable()


def test_a_registry_that_fails_meanwhile_has_refused_nobody(tls_registry, check, alice):
    tls_registry.access = "bearer"
    tls_registry.script("/token", Reply(503))

    with pytest.raises(RegistryError, match="cannot say whether it accepts you") as failure:
        check(alice)

    assert not isinstance(failure.value, RegistryNotPermittedError)


@pytest.mark.parametrize("credentials", [Credentials("a\ud800", "b"), Credentials("a", "\udfff")])
def test_half_a_character_is_refused(credentials):
    with pytest.raises(RegistryError, match="half a character"):
        credentials.basic_header()
