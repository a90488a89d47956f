# SPDX-License-Identifier: BSD-3-Clause
from __future__ import annotations

import json
import logging
import traceback

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shifter_imagegw.registry import (
    Credentials,
    Endpoint,
    ManifestNotFoundError,
    Platform,
    RegistryError,
    RegistryNotPermittedError,
    RepositoryName,
)
from shifter_imagegw.registry.auth import Authorizer, parse_challenges
from shifter_imagegw.registry.transport import Transport
from tests.unit.shifter_imagegw.registry.fake_registry import FakeRegistry, Reply

APP = RepositoryName.parse("ns/app:v1")
AMD64 = Platform("linux", "amd64")


@pytest.mark.parametrize(
    ("lines", "challenges"),
    [
        ([], []),
        (['Basic realm="a"'], [("basic", {"realm": "a"})]),
        (
            ['Bearer realm="https://a/t",service="a, b",scope="repository:x:pull,push"'],
            [
                (
                    "bearer",
                    {
                        "realm": "https://a/t",
                        "service": "a, b",
                        "scope": "repository:x:pull,push",
                    },
                )
            ],
        ),
        (
            ['BEARER Realm=https://a/t , Service=s, basic REALM="q\\"q"'],
            [("bearer", {"realm": "https://a/t", "service": "s"}), ("basic", {"realm": 'q"q'})],
        ),
        (
            ['Basic realm="a"', "Bearer realm=b"],
            [("basic", {"realm": "a"}), ("bearer", {"realm": "b"})],
        ),
        (["Negotiate, Basic"], [("negotiate", {}), ("basic", {})]),
        (['Bearer realm = "spaces"'], [("bearer", {"realm": "spaces"})]),
        (['Bearer realm="unended'], [("bearer", {"realm": "unended"})]),
        (["Bearer realm=a,realm=b"], [("bearer", {"realm": "a"})]),
        (["???, Bearer realm=a"], [("bearer", {"realm": "a"})]),
    ],
)
def test_challenges_are_read_as_servers_write_them(lines, challenges):
    assert [(c.scheme, c.parameters) for c in parse_challenges(lines)] == challenges


@given(st.text(max_size=200))
def test_any_header_can_be_read(line):
    for challenge in parse_challenges([line]):
        assert challenge.scheme == challenge.scheme.lower()


def test_an_open_registry_is_shown_no_credentials(tls_registry, connect, alice):
    tls_registry.add_image()

    image = connect(tls_registry, alice).resolve(APP, AMD64)

    assert not image.used_credentials
    assert [request.authorization for request in tls_registry.requests] == [None, None]


@pytest.mark.parametrize("field", ["token", "access_token"])
def test_a_public_image_is_read_with_a_token_for_everybody(tls_registry, connect, alice, field):
    tls_registry.access, tls_registry.public = "bearer", {"ns/app"}
    tls_registry.token_field = field
    tls_registry.add_image()

    image = connect(tls_registry, alice).resolve(APP, AMD64)

    assert not image.used_credentials
    assert [r.authorization for r in tls_registry.requests_for("/token")] == [None]


def test_a_private_image_is_read_with_a_token_for_the_credentials(tls_registry, connect, alice):
    tls_registry.access = "bearer"
    digest = tls_registry.add_image()

    image = connect(tls_registry, alice).resolve(APP, AMD64)

    assert (image.digest, image.used_credentials) == (digest, True)
    assert [r.authorization for r in tls_registry.requests_for("/token")] == [
        None,
        alice.basic_header(),
    ]


def test_a_token_is_asked_for_with_the_scope_of_the_challenge(tls_registry, connect):
    tls_registry.access, tls_registry.public = "bearer", {"ns/app"}
    tls_registry.add_image()

    connect(tls_registry).resolve(APP, AMD64)

    assert "scope=repository%3Ans%2Fapp%3Apull" in tls_registry.requests_for("/token")[0].path


@pytest.mark.parametrize("auth_method", ["token", "basic"])
def test_a_registry_that_offers_only_basic_gets_the_credentials(
    tls_registry, connect, alice, auth_method
):
    tls_registry.access = "basic"
    digest = tls_registry.add_image()

    image = connect(tls_registry, alice, auth_method=auth_method).resolve(APP, AMD64)

    assert (image.digest, image.used_credentials) == (digest, True)
    assert tls_registry.requests[0].authorization is None


def test_basic_method_tries_a_token_for_everybody_before_the_credentials(
    tls_registry, connect, alice
):
    tls_registry.access, tls_registry.public = "bearer", {"ns/app"}
    tls_registry.add_image()

    image = connect(tls_registry, alice, auth_method="basic").resolve(APP, AMD64)

    assert not image.used_credentials


def test_a_password_may_hold_colons_and_any_letter(tls_registry, connect):
    tls_registry.access, tls_registry.user = "basic", ("bob", "a:b::ü€漢")
    tls_registry.add_image()

    image = connect(tls_registry, Credentials("bob", "a:b::ü€漢")).resolve(APP, AMD64)

    assert (image.used_credentials, image.was_limited) == (True, False)


def test_a_user_name_with_a_colon_is_refused(tls_registry, connect):
    tls_registry.access = "basic"

    with pytest.raises(RegistryError, match="'a:b' cannot be sent .* colon"):
        connect(tls_registry, Credentials("a:b", "secret")).resolve(APP, AMD64)


def test_credentials_hide_their_password():
    assert "secret" not in repr(Credentials("alice", "secret"))


@pytest.mark.parametrize("access", ["bearer", "basic"])
def test_wrong_credentials_are_a_refusal_without_secrets(
    tls_registry, connect, access, caplog, slept
):
    caplog.set_level(logging.DEBUG)
    tls_registry.access = access
    tls_registry.add_image()
    wrong = Credentials("alice", "wrongSecret")

    with pytest.raises(RegistryNotPermittedError) as caught:
        connect(tls_registry, wrong).resolve(APP, AMD64)

    shown = "".join(traceback.format_exception(caught.value)) + caplog.text
    secrets = ["wrongSecret", wrong.basic_header().split()[1], *tls_registry.tokens]
    assert not [secret for secret in secrets if secret in shown]
    assert "shifterimg login site" in str(caught.value)
    assert slept == []


def test_a_refusal_names_the_user_whose_credentials_were_refused(tls_registry, connect):
    tls_registry.access = "bearer"

    with pytest.raises(RegistryNotPermittedError, match="no token for user 'alice' to read ns/app"):
        connect(tls_registry, Credentials("alice", "wrong")).resolve(APP, AMD64)


def test_without_credentials_a_private_image_is_a_refusal(tls_registry, connect):
    tls_registry.access = "bearer"
    tls_registry.add_image()

    with pytest.raises(RegistryNotPermittedError, match="HTTP 401"):
        connect(tls_registry).resolve(APP, AMD64)


def test_a_private_image_that_is_hidden_as_not_found_is_tried_with_credentials(
    tls_registry, connect, alice
):
    tls_registry.access, tls_registry.hides_private = "bearer", True
    tls_registry.add_image()

    assert connect(tls_registry, alice).resolve(APP, AMD64).used_credentials


class Watch:
    """What a client says of the logins that it shows."""

    def __init__(self, may_show=True):
        self.may_show = may_show
        self.seen = []

    def before(self):
        if not self.may_show:
            raise LookupError("not now")
        self.seen.append("before")

    def refused(self):
        self.seen.append("refused")


@pytest.mark.parametrize("access", ["bearer", "basic"])
def test_a_refused_login_is_told_once(tls_registry, connect, access):
    tls_registry.access = access
    tls_registry.add_image()
    watch = Watch()

    with pytest.raises(RegistryNotPermittedError):
        connect(tls_registry, Credentials("alice", "wrong"), watch=watch).resolve(APP, AMD64)

    assert watch.seen == ["before", "refused"]


@pytest.mark.parametrize("hides", [True, False])
def test_it_is_told_too_where_the_registry_hides_what_may_not_be_seen(tls_registry, connect, hides):
    tls_registry.access, tls_registry.hides_private = "bearer", hides
    tls_registry.add_image()
    watch = Watch()

    with pytest.raises(RegistryError):
        connect(tls_registry, Credentials("alice", "wrong"), watch=watch).resolve(APP, AMD64)

    assert watch.seen == ["before", "refused"]


@pytest.mark.parametrize("access", ["bearer", "basic"])
def test_an_accepted_login_is_no_refusal_whatever_comes_of_it(tls_registry, connect, alice, access):
    tls_registry.access = access
    tls_registry.add_image()
    watch = Watch()
    client = connect(tls_registry, alice, watch=watch)

    image = client.resolve(APP, AMD64)
    with pytest.raises(ManifestNotFoundError):
        client.resolve(RepositoryName.parse("ns/app:absent"), AMD64)
    tls_registry.tokens = dict.fromkeys(["a", "b", "c", "d"], False)
    with client.open_blob(image.repository, image.layers[0].digest):
        pass

    assert watch.seen[0] == "before"
    assert "refused" not in watch.seen


def test_a_login_that_is_not_needed_is_not_watched(tls_registry, connect, alice):
    tls_registry.access, tls_registry.public = "bearer", {"ns/app"}
    tls_registry.add_image()
    watch = Watch(may_show=False)

    connect(tls_registry, alice, watch=watch).resolve(APP, AMD64)

    assert watch.seen == []


@pytest.mark.parametrize("access", ["bearer", "basic"])
def test_a_login_that_is_not_to_be_shown_is_not(tls_registry, connect, alice, access):
    tls_registry.access = access
    tls_registry.add_image()

    with pytest.raises(LookupError):
        connect(tls_registry, alice, watch=Watch(may_show=False)).resolve(APP, AMD64)

    assert alice.basic_header() not in [asked.authorization for asked in tls_registry.requests]


def test_a_missing_image_stays_missing_when_credentials_are_refused(tls_registry, connect):
    tls_registry.access, tls_registry.public = "bearer", {"ns/app"}

    with pytest.raises(ManifestNotFoundError, match="MANIFEST_UNKNOWN"):
        connect(tls_registry, Credentials("alice", "wrong")).resolve(APP, AMD64)


def test_trying_credentials_in_vain_does_not_make_the_next_image_private(
    tls_registry, connect, alice
):
    tls_registry.access, tls_registry.public = "bearer", {"ns/app"}
    tls_registry.add_image()
    client = connect(tls_registry, alice)
    with pytest.raises(ManifestNotFoundError):
        client.resolve(RepositoryName.parse("ns/app:absent"), AMD64)

    assert not client.resolve(APP, AMD64).used_credentials


def test_a_token_that_the_registry_no_longer_takes_is_renewed(tls_registry, connect):
    tls_registry.access, tls_registry.public = "bearer", {"ns/app"}
    tls_registry.add_image()
    client = connect(tls_registry)
    image = client.resolve(APP, AMD64)
    tls_registry.tokens = dict.fromkeys(["other0", "other1"], False)

    with client.open_blob(image.repository, image.layers[0].digest) as answer:
        assert answer.read_all(100, "blob") == b"lower"


def test_a_private_token_is_renewed_with_the_credentials(tls_registry, connect, alice):
    tls_registry.access = "bearer"
    tls_registry.add_image()
    client = connect(tls_registry, alice)
    image = client.resolve(APP, AMD64)
    tls_registry.tokens = dict.fromkeys(["a", "b", "c", "d"], False)

    with client.open_blob(image.repository, image.layers[0].digest) as answer:
        assert answer.status == 200


def test_threads_that_are_refused_together_renew_their_token_once(tls_registry, connect):
    tls_registry.access, tls_registry.public = "bearer", {"ns/app"}
    tls_registry.add_image()
    client = connect(tls_registry)
    image = client.resolve(APP, AMD64)
    old = client._authorizer.current(image.repository)
    asked = len(tls_registry.requests_for("/token"))

    new = [client._authorizer.after_refusal("ns/app", old, 401, []) for _ in range(3)]

    assert new[0] == new[1] == new[2] != old
    assert len(tls_registry.requests_for("/token")) == asked + 1


def test_a_token_that_stays_the_same_when_renewed_is_not_renewed_for_ever(certificate):
    answers = FakeRegistry(certificate)
    challenge = parse_challenges([f'Bearer realm="{answers.url}/token"'])
    answers.script("/token", *(Reply(200, b'{"token": "same"}') for _ in range(9)))
    endpoint = Endpoint(answers.url, certificate)
    transport = Transport(endpoint, (5, 5))
    authorizer = Authorizer(endpoint, None, transport.get, clock=lambda: 0.0)
    token = authorizer.after_refusal("r", authorizer.current("r"), 401, challenge)
    authorizer.accept("r", token)

    tries = [authorizer.after_refusal("r", token, 401, []) for _ in range(2)]

    assert tries == [token, None]
    transport.close()
    answers.stop()


def test_a_token_server_that_knows_nobody_else_is_shown_the_credentials(
    tls_registry, connect, alice
):
    tls_registry.access = "bearer"
    tls_registry.script("/token", Reply(401))
    tls_registry.add_image()

    assert connect(tls_registry, alice).resolve(APP, AMD64).used_credentials


def test_a_token_is_used_for_many_requests(tls_registry, connect):
    tls_registry.access, tls_registry.public = "bearer", {"ns/app"}
    tls_registry.add_image()
    client = connect(tls_registry)
    for _ in range(3):
        client.resolve(APP, AMD64)

    assert len(tls_registry.requests_for("/token")) == 1


def test_a_token_is_not_used_beyond_its_life(tls_registry, connect):
    tls_registry.access, tls_registry.public = "bearer", {"ns/app"}
    tls_registry.token_lifetime = 1e-9
    tls_registry.add_image()
    client = connect(tls_registry)
    client.resolve(APP, AMD64)
    before = len(tls_registry.requests)

    client.resolve(APP, AMD64)

    assert tls_registry.requests[before].path.startswith("/token")


def test_a_registry_that_refuses_for_ever_is_asked_finitely_often(tls_registry, connect, alice):
    tls_registry.access = "bearer"
    tls_registry.script("/token", *(Reply(200, b'{"token": "bad"}') for _ in range(50)))

    with pytest.raises(RegistryNotPermittedError):
        connect(tls_registry, alice).resolve(APP, AMD64)

    assert len(tls_registry.requests) <= 6


def test_over_plain_http_credentials_are_never_sent(registry, connect):
    registry.access = "basic"
    registry.add_image()

    with pytest.raises(RegistryNotPermittedError, match="not sent over plain http"):
        connect(registry, Credentials(*registry.user)).resolve(APP, AMD64)

    assert {request.authorization for request in registry.requests} == {None}


def test_over_plain_http_a_token_for_everybody_is_used(registry, connect):
    registry.access, registry.public = "bearer", {"ns/app"}
    digest = registry.add_image()

    assert connect(registry).resolve(APP, AMD64).digest == digest


def test_an_https_registry_cannot_name_a_plain_http_token_server(
    tls_registry, other_host, connect, alice
):
    tls_registry.access, tls_registry.realm = "bearer", f"{other_host.url}/token"

    with pytest.raises(RegistryError, match="over plain http, which is not trusted"):
        connect(tls_registry, alice).resolve(APP, AMD64)

    assert other_host.requests == []


def test_a_plain_http_registry_cannot_name_a_plain_http_token_server_elsewhere(registry, connect):
    registry.access, registry.realm = "bearer", f"http://localhost:{registry.port}/token"

    with pytest.raises(RegistryError, match="over plain http, which is not trusted"):
        connect(registry).resolve(APP, AMD64)


@pytest.mark.parametrize(
    "realm", ["", "ftp://127.0.0.1/", "file:///etc/passwd", "https://user:pw@host/", "https://[x/"]
)
def test_a_token_server_that_is_none_is_refused(tls_registry, connect, alice, realm):
    challenge = {"WWW-Authenticate": f'Bearer realm="{realm}"'}
    tls_registry.script("/manifests/", Reply(401, headers=challenge))

    with pytest.raises(RegistryError):
        connect(tls_registry, alice).resolve(APP, AMD64)

    assert {request.authorization for request in tls_registry.requests} == {None}


def test_a_challenge_from_where_a_redirect_led_is_not_answered(
    tls_registry, other_host, connect, alice
):
    tls_registry.add_image()
    client = connect(tls_registry, alice)
    image = client.resolve(APP, AMD64)
    blob = image.layers[0].digest
    tls_registry.script("/blobs/", Reply(307, headers={"Location": f"{other_host.url}/data"}))
    trap = {"WWW-Authenticate": f'Bearer realm="{tls_registry.url}/token",service="fake, service"'}
    other_host.script("/data", Reply(401, headers=trap))

    with (
        pytest.raises(RegistryError, match="where the registry keeps it"),
        client.open_blob(image.repository, blob),
    ):
        pass

    assert not tls_registry.requests_for("/token")


@pytest.mark.parametrize(
    "answer",
    [b"{}", b'{"token": 3}', b'{"token": "a b"}', b'{"token": "a\\r\\nX-Evil: 1"}', b"[]", b"no"],
)
def test_a_token_server_that_gives_no_token_is_an_error(tls_registry, connect, answer):
    tls_registry.access = "bearer"
    tls_registry.script("/token", Reply(200, answer))

    with pytest.raises(RegistryError, match="token server"):
        connect(tls_registry).resolve(APP, AMD64)


def test_a_token_server_in_trouble_is_asked_again(tls_registry, connect, slept):
    tls_registry.access, tls_registry.public = "bearer", {"ns/app"}
    digest = tls_registry.add_image()
    tls_registry.script("/token", Reply(503), Reply(429, headers={"Retry-After": "7"}))

    assert connect(tls_registry).resolve(APP, AMD64).digest == digest
    assert slept[1] == 7


def test_the_netrc_file_is_not_read(tls_registry, connect, tmp_path):
    (tmp_path / ".netrc").write_text("machine 127.0.0.1 login alice password pass\n")
    tls_registry.access = "basic"
    tls_registry.add_image()

    with pytest.raises(RegistryNotPermittedError):
        connect(tls_registry).resolve(APP, AMD64)

    assert {request.authorization for request in tls_registry.requests} == {None}


def test_cookies_are_not_kept(registry, connect):
    registry.add_image()
    data = registry.manifests["ns/app", "v1"][1]
    registry.script("/manifests/", Reply(200, data, {"Set-Cookie": "a=b; Path=/"}))
    client = connect(registry)

    client.resolve(APP, AMD64)

    assert not [request for request in registry.requests if "cookie" in request.headers]


def test_a_refusal_in_the_words_of_a_token_server_is_passed_on(tls_registry, connect):
    tls_registry.access = "bearer"
    body = json.dumps({"details": "incorrect username or password"}).encode()
    tls_registry.script("/token", Reply(401, body))

    with pytest.raises(RegistryNotPermittedError, match="incorrect username or password"):
        connect(tls_registry).resolve(APP, AMD64)


TOO_MANY = Reply(429, headers={"Retry-After": "7"})


@pytest.mark.parametrize("path", ["/manifests/v1", "/token"])
def test_where_everybody_has_asked_enough_the_credentials_are_shown(
    tls_registry, connect, alice, slept, path
):
    tls_registry.access, tls_registry.public = "bearer", {"ns/app"}
    digest = tls_registry.add_image()
    first = [Reply(401, headers={"WWW-Authenticate": challenge_of(tls_registry)})]
    tls_registry.script(path, *(first if path != "/token" else []), TOO_MANY)

    image = connect(tls_registry, alice).resolve(APP, AMD64)

    assert image.digest == digest
    assert (image.used_credentials, image.was_limited) == (True, True)
    assert slept == []


@pytest.mark.parametrize("path", ["/manifests/v1", "/token"])
def test_without_credentials_everybodys_limit_is_waited_for(tls_registry, connect, slept, path):
    tls_registry.access, tls_registry.public = "bearer", {"ns/app"}
    tls_registry.add_image()
    tls_registry.script(path, TOO_MANY)

    image = connect(tls_registry).resolve(APP, AMD64)

    assert not image.used_credentials
    assert slept == [7]


def test_where_no_credentials_help_a_limit_of_requests_is_waited_for(tls_registry, connect, slept):
    tls_registry.access, tls_registry.public = "bearer", {"ns/app"}
    tls_registry.add_image()
    first = Reply(401, headers={"WWW-Authenticate": challenge_of(tls_registry)})
    tls_registry.script("/manifests/v1", first, TOO_MANY)

    image = connect(tls_registry, Credentials("alice", "wrong")).resolve(APP, AMD64)

    assert not image.used_credentials
    assert slept == [7]


def test_a_limit_of_requests_that_lasts_is_said(tls_registry, connect, alice):
    tls_registry.access = "bearer"
    tls_registry.script("/manifests/v1", *[TOO_MANY] * 9)

    with pytest.raises(RegistryError, match=r"HTTP 429\): its limit of requests is reached, try"):
        connect(tls_registry, alice).resolve(APP, AMD64)


def challenge_of(registry) -> str:
    return f'Bearer realm="{registry.url}/token",service="fake, service"'
