# SPDX-License-Identifier: BSD-3-Clause
"""Three registries, each started once: open over plain http, with passwords, with tokens."""

from __future__ import annotations

import pytest

from shifter_imagegw.registry import Endpoint, RegistryClient
from tests.integration.registry.real_registry import (
    Authority,
    htpasswd_auth,
    serve,
    token_auth,
    write_layout,
)


@pytest.fixture(autouse=True)
def no_proxy_settings(monkeypatch):
    for name in ("http_proxy", "https_proxy", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)


@pytest.fixture(scope="session")
def authority(tmp_path_factory):
    return Authority.create(tmp_path_factory.mktemp("ca"))


@pytest.fixture(scope="session")
def open_registry(tmp_path_factory):
    with serve(tmp_path_factory.mktemp("registries") / "open") as registry:
        yield registry


@pytest.fixture(scope="session")
def password_registry(tmp_path_factory, authority):
    directory = tmp_path_factory.mktemp("registries")
    with serve(
        directory / "passwords", authority=authority, auth=htpasswd_auth(directory)
    ) as registry:
        yield registry


@pytest.fixture(scope="session")
def token_registry(tmp_path_factory, authority):
    directory = tmp_path_factory.mktemp("registries")
    with (
        token_auth(authority) as auth,
        serve(directory / "by-token", authority=authority, auth=auth) as registry,
    ):
        yield registry


@pytest.fixture(scope="session")
def layout(tmp_path_factory):
    """An image of three layers."""
    return write_layout(tmp_path_factory.mktemp("image") / "layout", "amd64")


@pytest.fixture(scope="session")
def index_layout(tmp_path_factory):
    """One image for each of two architectures."""
    return write_layout(tmp_path_factory.mktemp("image") / "index", "amd64", "arm64")


@pytest.fixture
def connect():
    """Make a client of a real registry; all are closed at the end of the test."""
    clients = []

    def make(registry, credentials=None, **options):
        endpoint = Endpoint(
            registry.url, registry.ca_file, auth_method=options.pop("auth_method", "token")
        )
        clients.append(RegistryClient(endpoint, credentials, sleep=lambda _: None, **options))
        return clients[-1]

    yield make
    for client in clients:
        client.close()
