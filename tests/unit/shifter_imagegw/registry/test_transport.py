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
from tests.unit.shifter_imagegw.registry.fake_registry import Reply

APP = RepositoryName.parse("ns/app:v1")
AMD64 = Platform("linux", "amd64")
NOW = datetime.datetime(2026, 1, 2, 3, 4, 5, tzinfo=datetime.UTC)


def redirect(url, status=307):
    return Reply(status, headers={"Location": url})


def read_blob(client, digest):
    with client.open_blob("ns/app", digest) as answer:
        return answer.read_all(1 << 20, "blob")


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


def resolves_to(monkeypatch, **hosts):
    """Make names resolve as in `hosts` (dots written as __); everything else as usual."""
    real = socket.getaddrinfo

    def fake(host, port, *args, **kwargs):
        address = hosts.get(host.replace(".", "__"))
        return real(address or host, port, *args, **kwargs)

    monkeypatch.setattr(socket, "getaddrinfo", fake)


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
    ],
)
def test_addresses_are_known_by_their_network(address, kind):
    assert addresses.kind(address) == kind


def test_requests_go_through_the_proxy_of_the_environment(other_host, monkeypatch, slept):
    other_host.add_image()
    monkeypatch.setenv("http_proxy", other_host.url)
    data = other_host.manifests["ns/app", "v1"][1]
    other_host.script("http://registry.example/v2/ns/app/manifests/v1", Reply(200, data))
    other_host.script("http://registry.example/v2/ns/app/blobs/", Reply(404))

    with (
        RegistryClient(Endpoint("http://registry.example")) as client,
        pytest.raises(RegistryError),
    ):
        client.resolve(APP, AMD64)

    assert other_host.requests[0].path == "http://registry.example/v2/ns/app/manifests/v1"


def test_docker_hub_is_asked_for_official_images_in_its_library(other_host, monkeypatch):
    monkeypatch.setenv("http_proxy", other_host.url)

    with RegistryClient(Endpoint("http://docker.io")) as client, pytest.raises(RegistryError):
        client.resolve(RepositoryName.parse("ubuntu:24.04"), AMD64)

    asked = "http://registry-1.docker.io/v2/library/ubuntu/manifests/24.04"
    assert other_host.requests[0].path == asked


def test_hosts_in_no_proxy_are_asked_directly(registry, connect, monkeypatch):
    digest = registry.add_image()
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
    monkeypatch.setenv("no_proxy", "127.0.0.1")

    assert connect(registry).resolve(APP, AMD64).digest == digest


def test_a_proxy_that_is_down_is_blamed(registry, connect, monkeypatch):
    monkeypatch.setenv("all_proxy", "http://127.0.0.1:1")

    with pytest.raises(RegistryError, match=r"the proxy on the way there failed \(connection ref"):
        connect(registry).resolve(APP, AMD64)


def test_a_proxy_is_not_asked_for_addresses_inside_the_site(registry, connect, monkeypatch):
    registry.script("/blobs/", redirect("http://169.254.169.254/latest/meta-data"))
    client = connect(registry)
    monkeypatch.setenv("http_proxy", registry.url)
    monkeypatch.setenv("no_proxy", "127.0.0.1")

    with pytest.raises(RegistryError, match="a link-local address"):
        read_blob(client, "sha256:0")


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
