# SPDX-License-Identifier: BSD-3-Clause
"""The proxies that the environment names, as the original takes them."""

from __future__ import annotations

import contextlib
import sys

import pytest
import requests

from shifter_imagegw.registry import (
    Endpoint,
    Platform,
    RegistryClient,
    RegistryError,
    RepositoryName,
    addresses,
)
from tests.unit.shifter_imagegw.registry.fake_registry import (
    Reply,
    read_blob,
    redirect,
    resolves_to,
)

APP = RepositoryName.parse("ns/app:v1")
AMD64 = Platform("linux", "amd64")


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


@pytest.mark.parametrize(
    ("host", "kind"),
    [
        ("169.254.169.254", "link-local"),
        ("2852039166", "link-local"),
        ("10.1", "private"),
        ("[fd00::1]", "private"),
    ],
)
def test_a_proxy_is_not_asked_for_addresses_inside_the_site(
    registry, connect, monkeypatch, host, kind
):
    registry.script("/blobs/", redirect(f"http://{host}/latest/meta-data"))
    client = connect(registry)
    monkeypatch.setenv("http_proxy", registry.url)
    monkeypatch.setenv("no_proxy", "127.0.0.1")

    with pytest.raises(RegistryError, match=f"a {kind} address"):
        read_blob(client, "sha256:0")


@pytest.mark.parametrize("host", ["localhost", "localhost.", "a.localhost", "127.1"])
def test_a_proxy_is_not_asked_for_itself(registry, connect, monkeypatch, host):
    monkeypatch.setattr(addresses, "kinds_of_host", lambda host: frozenset({"public"}))
    registry.script("/blobs/", redirect(f"http://{host}:6379/"))
    client = connect(registry)
    monkeypatch.setenv("http_proxy", registry.url)
    monkeypatch.setattr("requests.utils.should_bypass_proxies", lambda url, no_proxy: False)

    with pytest.raises(RegistryError, match="a loopback address"):
        read_blob(client, "sha256:0")


@pytest.mark.parametrize(
    ("no_proxy", "is_direct"),
    [
        ("registry.example", True),
        (".example", True),
        ("example", True),
        ("other.example, registry.example", True),
        ("*", True),
        ("egistry.example", False),
        ("other.example", False),
        ("registry.example:81", False),
    ],
)
def test_no_proxy_lists_names_and_their_ends(other_host, monkeypatch, slept, no_proxy, is_direct):
    monkeypatch.setenv("http_proxy", other_host.url)
    monkeypatch.setenv("no_proxy", no_proxy)
    resolves_to(monkeypatch, registry__example="127.0.0.1")
    endpoint = Endpoint("http://registry.example")

    with RegistryClient(endpoint, attempts=1) as client, pytest.raises(RegistryError):
        client.resolve(APP, AMD64)

    assert (other_host.requests == []) == is_direct


@pytest.mark.parametrize(
    ("no_proxy", "is_direct"), [("127.0.0.0/8", True), ("10.0.0.0/8", False), ("127.0.0.1", True)]
)
def test_no_proxy_lists_networks(registry, other_host, connect, monkeypatch, no_proxy, is_direct):
    registry.add_image()
    monkeypatch.setenv("http_proxy", other_host.url)
    monkeypatch.setenv("no_proxy", no_proxy)

    with contextlib.suppress(RegistryError):
        connect(registry, attempts=1).resolve(APP, AMD64)

    assert bool(registry.requests) == is_direct
    assert bool(other_host.requests) != is_direct


def test_a_socks_proxy_needs_its_package_and_says_so(registry, connect, monkeypatch):
    """As the original, which takes `all_proxy=socks://host:port` where PySocks is installed."""
    monkeypatch.setitem(sys.modules, "socks", None)
    monkeypatch.setitem(sys.modules, "urllib3.contrib.socks", None)
    monkeypatch.setattr("requests.adapters.SOCKSProxyManager", _without_pysocks, raising=False)
    monkeypatch.setenv("all_proxy", "socks://127.0.0.1:1")

    with pytest.raises(RegistryError, match="its proxy needs the Python package PySocks"):
        connect(registry).resolve(APP, AMD64)


def _without_pysocks(*_args, **_kwargs):
    raise requests.exceptions.InvalidSchema("Missing dependencies for SOCKS support.")


def test_a_proxys_password_is_in_no_error(registry, connect, monkeypatch):
    monkeypatch.setenv("http_proxy", "http://proxyuser:proxysecret@127.0.0.1:1")

    with pytest.raises(RegistryError) as raised:
        connect(registry).resolve(APP, AMD64)

    assert "proxysecret" not in str(raised.value)
