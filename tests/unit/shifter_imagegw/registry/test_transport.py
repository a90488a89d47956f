# SPDX-License-Identifier: BSD-3-Clause
"""Where a registry may send us, through what, and how often we try."""

from __future__ import annotations

import datetime
import socket
import threading

import pytest

from shifter_imagegw.registry import (
    Endpoint,
    Platform,
    RegistryClient,
    RegistryError,
    RepositoryName,
    addresses,
)
from shifter_imagegw.registry.retry import parse_retry_after
from tests.unit.shifter_imagegw.registry.fake_registry import (
    FakeRegistry,
    Reply,
    read_blob,
    redirect,
    resolves_to,
)

APP = RepositoryName.parse("ns/app:v1")
AMD64 = Platform("linux", "amd64")
NOW = datetime.datetime(2026, 1, 2, 3, 4, 5, tzinfo=datetime.UTC)


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_blob_is_read_where_the_registry_keeps_it(registry, other_host, connect, status):
    registry.script("/blobs/", redirect(f"{other_host.url}/data?signature=x", status))
    other_host.script("/data?signature=x", Reply(200, b"content"))

    assert read_blob(connect(registry), "sha256:0") == b"content"


def test_a_redirect_to_another_host_carries_no_authorization(
    tls_registry, other_host, connect, alice
):
    tls_registry.access = "basic"
    tls_registry.add_image()
    client = connect(tls_registry, alice)
    digest = client.resolve(APP, AMD64).layers[0].digest
    tls_registry.script("/blobs/", redirect(f"{other_host.url}/data"))
    other_host.script("/data", Reply(200, b"content"))

    read_blob(client, digest)

    assert tls_registry.requests[-1].authorization == alice.basic_header()
    assert [request.authorization for request in other_host.requests] == [None]


def test_a_redirect_on_the_same_host_carries_the_authorization(tls_registry, connect, alice):
    tls_registry.access = "basic"
    tls_registry.add_image()
    client = connect(tls_registry, alice)
    digest = client.resolve(APP, AMD64).layers[0].digest
    tls_registry.script("/blobs/", redirect(f"/v2/else/where/blobs/{digest}"))

    assert read_blob(client, digest) == b"lower"


def test_a_manifest_is_not_fetched_over_plain_http_after_a_redirect(
    tls_registry, other_host, connect
):
    tls_registry.script("/manifests/", redirect(f"{other_host.url}/manifest"))

    with pytest.raises(RegistryError, match="from https to plain http"):
        connect(tls_registry).resolve(APP, AMD64)

    assert other_host.requests == []


@pytest.mark.parametrize(
    "target", ["file:///etc/passwd", "ftp://127.0.0.1/", "gopher:x", "//[", ""]
)
def test_a_redirect_to_no_web_address_is_refused(registry, connect, target):
    registry.script("/blobs/", redirect(target))

    with pytest.raises(RegistryError):
        read_blob(connect(registry), "sha256:0")


def test_a_redirect_that_two_parsers_read_differently_leaks_nothing(
    tls_registry, other_host, connect, alice
):
    tls_registry.access = "basic"
    tls_registry.add_image()
    client = connect(tls_registry, alice)
    digest = client.resolve(APP, AMD64).layers[0].digest
    target = f"{other_host.url}\\@127.0.0.1:{tls_registry.port}/data"
    tls_registry.script("/blobs/", redirect(target), redirect(target.replace("http", "https")))

    for _ in range(2):
        with pytest.raises(RegistryError, match="no http or https address"):
            read_blob(client, digest)

    assert other_host.requests == []


def test_redirects_in_a_circle_end(registry, connect):
    registry.script("/blobs/", *(redirect("/v2/ns/app/blobs/again") for _ in range(50)))

    with pytest.raises(RegistryError, match="redirects more than 5 times"):
        read_blob(connect(registry), "sha256:0")


@pytest.mark.parametrize(
    ("address", "kind"),
    [("127.0.0.1", "loopback"), ("10.1.2.3", "private"), ("169.254.169.254", "link-local")],
)
def test_a_name_that_leads_into_the_site_is_not_followed(
    registry, connect, monkeypatch, address, kind
):
    """The registry is (as far as the client can tell) a public one."""
    monkeypatch.setattr(addresses, "kinds_of_host", lambda host: frozenset({"public"}))
    resolves_to(monkeypatch, inside__example=address)
    registry.script("/blobs/", redirect("http://inside.example:1/secret"))

    with pytest.raises(RegistryError, match=f"inside.example, which is a {kind} address"):
        read_blob(connect(registry), "sha256:0")


def test_a_name_is_not_looked_up_again_after_it_was_judged(
    registry, other_host, connect, monkeypatch
):
    """What answers to a hostile name may be another host by the next question (DNS rebinding)."""
    registry.script("/blobs/", redirect(f"http://rebinds.example:{other_host.port}/data"))
    other_host.script("/data", Reply(200, b"content"))
    real, asked = socket.getaddrinfo, []

    def fake(host, port, *args, **kwargs):
        if host != "rebinds.example":
            return real(host, port, *args, **kwargs)
        asked.append(host)
        return real("127.0.0.1" if len(asked) == 1 else "10.0.0.1", port, *args, **kwargs)

    monkeypatch.setattr(socket, "getaddrinfo", fake)

    assert read_blob(connect(registry), "sha256:0") == b"content"
    assert asked == ["rebinds.example"]


@pytest.mark.parametrize(
    "host",
    [
        "2852039166",
        "0xa9fea9fe",
        "0251.0376.0251.0376",
        "169.254.43518",
        "[::ffff:169.254.169.254]",
    ],
)
def test_an_address_in_disguise_is_known(registry, connect, monkeypatch, host):
    registry.script("/blobs/", redirect(f"http://{host}/latest/meta-data"))
    client = connect(registry)

    with pytest.raises(RegistryError, match="is a link-local address"):
        read_blob(client, "sha256:0")


def test_a_registry_inside_the_site_may_lead_to_its_own_network_only(registry, other_host, connect):
    registry.script("/blobs/", redirect(f"{other_host.url}/data"), redirect("http://10.0.0.1/"))
    other_host.script("/data", Reply(200, b"content"))
    client = connect(registry)

    assert read_blob(client, "sha256:0") == b"content"
    with pytest.raises(RegistryError, match=r"10.0.0.1, which is a private address"):
        read_blob(client, "sha256:0")


def test_a_token_server_inside_the_site_is_not_asked(registry, connect, monkeypatch):
    monkeypatch.setattr(addresses, "kinds_of_host", lambda host: frozenset({"public"}))
    resolves_to(monkeypatch, tokens__example="127.0.0.1")
    registry.access, registry.realm = "bearer", "https://tokens.example/token"

    with pytest.raises(RegistryError, match=r"tokens.example, which is a loopback address"):
        connect(registry).resolve(APP, AMD64)


@pytest.mark.parametrize(
    ("address", "kind"),
    [
        ("8.8.8.8", "public"),
        ("2606:4700::1111", "public"),
        ("127.8.8.8", "loopback"),
        ("::1", "loopback"),
        ("0.0.0.0", "loopback"),
        ("::ffff:127.0.0.1", "loopback"),
        ("64:ff9b::a9fe:a9fe", "link-local"),
        ("2002:a00:1::", "private"),
        ("fe80::1%eth0", "link-local"),
        ("fd00::1", "private"),
        ("192.168.1.1", "private"),
        ("100.64.0.1", "private"),
        ("224.0.0.1", "special"),
        ("::ffff:169.254.169.254", "link-local"),
        ("::7f00:1", "special"),  # once, 127.0.0.1
        ("::ffff:0:7f00:1", "special"),
        ("64:ff9b:1::7f00:1", "private"),
        ("fec0::1", "private"),
        ("2002:7f00:1::", "loopback"),
        ("240.0.0.1", "private"),
        ("255.255.255.255", "private"),
        ("2001:0:1:2:3:4:80ff:fffe", "private"),  # Teredo
    ],
)
def test_addresses_are_known_by_their_network(address, kind):
    assert addresses.kind(address) == kind


@pytest.mark.parametrize("change", ["port", "scheme"])
def test_another_port_or_scheme_of_the_same_host_sees_no_authorization(
    tls_registry, certificate, connect, alice, change
):
    """Both are another server, for all that is known."""
    tls_registry.access = "basic"
    tls_registry.add_image()
    client = connect(tls_registry, alice)
    digest = client.resolve(APP, AMD64).layers[0].digest
    elsewhere = FakeRegistry(certificate if change == "port" else None)
    tls_registry.script("/blobs/", redirect(f"{elsewhere.url}/data"))
    elsewhere.script("/data", Reply(200, b"content"))

    try:
        read_blob(client, digest)
    finally:
        elsewhere.stop()

    assert tls_registry.requests[-1].authorization is not None
    assert [request.authorization for request in elsewhere.requests] == [None]


@pytest.mark.parametrize("userinfo", ["user:secret@", "user@", ":@"])
def test_a_redirect_with_credentials_in_it_is_refused(registry, other_host, connect, userinfo):
    target = other_host.url.replace("://", f"://{userinfo}")
    registry.script("/blobs/", redirect(f"{target}/data"))

    with pytest.raises(RegistryError, match="no http or https address") as raised:
        read_blob(connect(registry), "sha256:0")

    assert other_host.requests == []
    assert "secret" not in str(raised.value)


@pytest.mark.parametrize("status", [408, 429, 500, 502, 503, 504])
def test_a_passing_failure_is_tried_again(registry, connect, slept, status):
    digest = registry.add_image()
    registry.script("/manifests/", Reply(status), Reply(status))

    assert connect(registry).resolve(APP, AMD64).digest == digest
    assert len(slept) == 2


@pytest.mark.parametrize("status", [400, 401, 403, 404, 410])
def test_a_lasting_failure_is_not_tried_again(registry, connect, slept, status):
    registry.script("/manifests/", Reply(status))

    with pytest.raises(RegistryError, match=f"HTTP {status}"):
        connect(registry).resolve(APP, AMD64)

    assert (len(registry.requests), slept) == (1, [])


def test_tries_are_counted_and_their_pauses_grow(registry, connect, slept):
    registry.script("/manifests/", *(Reply(503) for _ in range(9)))

    with pytest.raises(RegistryError, match="HTTP 503"):
        connect(registry, attempts=4).resolve(APP, AMD64)

    assert len(registry.requests) == 4
    assert slept[0] <= 0.5 < slept[2] <= 2


def test_the_pause_is_what_the_registry_asks_for(registry, connect, slept):
    registry.add_image()
    registry.script("/manifests/", Reply(429, headers={"Retry-After": "42"}))

    connect(registry).resolve(APP, AMD64)

    assert slept == [42]


def test_no_registry_makes_us_wait_for_hours(registry, connect, slept):
    registry.add_image()
    registry.script("/manifests/", Reply(503, headers={"Retry-After": "86400"}))

    connect(registry).resolve(APP, AMD64)

    assert slept == [120]


def test_a_registry_that_falls_silent_is_not_waited_for_for_ever(slept):
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}"
        client = RegistryClient(Endpoint(url), timeout=(5, 0.02), attempts=2, sleep=slept.append)

        with client, pytest.raises(RegistryError, match="cannot be reached: no answer in time"):
            client.resolve(APP, AMD64)

    assert len(slept) == 1


def test_a_registry_that_is_none_is_said_not_to_answer_as_one():
    with socket.create_server(("127.0.0.1", 0)) as server:
        url = f"http://127.0.0.1:{server.getsockname()[1]}"
        thread = threading.Thread(target=lambda: _say(server, b"SSH-2.0-OpenSSH_9.2\r\n"))
        thread.start()

        with (
            RegistryClient(Endpoint(url), attempts=1) as client,
            pytest.raises(RegistryError, match="did not answer as a web server does"),
        ):
            client.resolve(APP, AMD64)
        thread.join()


def _say(server, data):
    connection, _ = server.accept()
    with connection:
        connection.recv(65536)
        connection.sendall(data)


def test_whoever_waits_is_told_of_another_try(registry, connect):
    registry.add_image()
    registry.script("/manifests/", Reply(503, headers={"Retry-After": "3"}))
    said = []

    connect(registry, on_retry=said.append).resolve(APP, AMD64)

    assert len(said) == 1
    assert "HTTP 503" in said[0]
    assert said[0].endswith("trying again in 3 s (attempt 2 of 5)")


def test_a_manifest_that_breaks_off_is_tried_again(registry, connect, slept):
    digest = registry.add_image()
    data = registry.manifests["ns/app", "v1"][1]
    registry.script("/manifests/", Reply(200, data, cut_at=20))

    assert connect(registry).resolve(APP, AMD64).digest == digest
    assert len(slept) == 1


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        (None, None),
        ("", None),
        ("7", 7),
        (" 7 ", 7),
        ("Fri, 02 Jan 2026 03:04:35 GMT", 30),
        ("Fri, 02 Jan 2026 03:00:00 GMT", 0),
        ("soon", None),
        ("-3", None),
        ("9" * 5000, 999999999),
    ],
)
def test_retry_after_is_seconds_or_a_date(value, seconds):
    assert parse_retry_after(value, NOW) == seconds
