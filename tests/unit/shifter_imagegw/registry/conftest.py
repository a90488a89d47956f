# SPDX-License-Identifier: BSD-3-Clause
"""Registries to talk to, and clients that do not really wait."""

from __future__ import annotations

import datetime
import ipaddress
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from shifter_imagegw.registry import Credentials, Endpoint, RegistryClient
from tests.unit.shifter_imagegw.registry.fake_registry import FakeRegistry


@pytest.fixture(autouse=True)
def no_proxy_settings(monkeypatch, tmp_path):
    """The tests' own network and home, whatever surrounds them."""
    for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
    for name in ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "NETRC"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))


@pytest.fixture(scope="session")
def certificate(tmp_path_factory) -> Path:
    """A self-signed certificate for 127.0.0.1 with its key, which is its own CA file too."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    now = datetime.datetime.now(datetime.UTC)
    names = [x509.DNSName("localhost"), x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]
    signed = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    path = tmp_path_factory.mktemp("tls") / "server.pem"
    path.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
        + signed.public_bytes(serialization.Encoding.PEM)
    )
    return path


@pytest.fixture
def registry():
    registry = FakeRegistry()
    yield registry
    registry.stop()


@pytest.fixture
def other_host():
    """Another server than the registry: another port is another origin."""
    server = FakeRegistry()
    yield server
    server.stop()


@pytest.fixture
def tls_registry(certificate):
    registry = FakeRegistry(certificate)
    yield registry
    registry.stop()


@pytest.fixture
def slept() -> list[float]:
    """Seconds that clients would have waited."""
    return []


@pytest.fixture
def connect(certificate, slept):
    """Make a client of a fake registry; all are closed at the end of the test."""
    clients = []

    def make(
        registry: FakeRegistry, credentials: Credentials | None = None, **options
    ) -> RegistryClient:
        endpoint = Endpoint(
            registry.url,
            ca_file=certificate if registry.scheme == "https" else None,
            auth_method=options.pop("auth_method", "token"),
            name="site",
        )
        options.setdefault("sleep", slept.append)
        options.setdefault("timeout", (5, 5))
        clients.append(RegistryClient(endpoint, credentials, **options))
        return clients[-1]

    yield make
    for client in clients:
        client.close()


@pytest.fixture
def alice(tls_registry) -> Credentials:
    return Credentials(*tls_registry.user)
