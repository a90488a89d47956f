# SPDX-License-Identifier: BSD-3-Clause
"""docker-registry on an ephemeral port, with TLS, passwords or tokens; and images to push there."""

from __future__ import annotations

import base64
import contextlib
import dataclasses
import datetime
import gzip
import hashlib
import http.server
import io
import ipaddress
import json
import os
import shutil
import socket
import ssl
import subprocess
import tarfile
import threading
import time
import urllib.parse
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.x509.oid import NameOID

USER, PASSWORD = "alice", "pass:wörd"


def program(name: str) -> str:
    """The path of a program that a test needs; a test that skips proves nothing."""
    path = shutil.which(name)
    if path is None:
        pytest.fail(f"{name} is missing: apt-get install {name}", pytrace=False)
    return path


# Trust


@dataclasses.dataclass(frozen=True)
class Authority:
    """A certificate authority of the tests' own."""

    directory: Path
    key: rsa.RSAPrivateKey
    certificate: x509.Certificate

    @property
    def ca_file(self) -> Path:
        return self.directory / "public" / "ca.crt"

    @classmethod
    def create(cls, directory: Path) -> Authority:
        key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        name = _name("Shifter test authority")
        certificate = _certificate(name, name, key, key, authority=True)
        authority = cls(directory, key, certificate)
        authority.ca_file.parent.mkdir()  # skopeo takes a key beside it for a client's
        authority.ca_file.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
        return authority

    def issue(self, name: str) -> tuple[Path, Path]:
        """A certificate for 127.0.0.1, localhost and a host of this name, and its key."""
        key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        certificate = _certificate(_name(name), self.certificate.subject, key, self.key)
        certificate_file = self.directory / f"{name}.crt"
        key_file = self.directory / f"{name}.key"
        certificate_file.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
        key_file.write_bytes(
            key.private_bytes(
                serialization.Encoding.PEM,
                serialization.PrivateFormat.TraditionalOpenSSL,
                serialization.NoEncryption(),
            )
        )
        return certificate_file, key_file


def _name(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])


def _certificate(
    subject: x509.Name,
    issuer: x509.Name,
    key: rsa.RSAPrivateKey,
    issuer_key: rsa.RSAPrivateKey,
    *,
    authority: bool = False,
) -> x509.Certificate:
    now = datetime.datetime.now(datetime.UTC)
    names = [x509.DNSName("localhost"), x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]
    own_name = str(subject.get_attributes_for_oid(NameOID.COMMON_NAME)[0].value)
    if "." in own_name:
        names.append(x509.DNSName(own_name))
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .add_extension(x509.BasicConstraints(ca=authority, path_length=None), critical=True)
        .sign(issuer_key, hashes.SHA256())
    )


# Servers


@dataclasses.dataclass(frozen=True)
class RealRegistry:
    url: str
    storage: Path
    ca_file: Path | None = None

    @property
    def host(self) -> str:
        return self.url.partition("://")[2]

    def blob_file(self, digest: str) -> Path:
        """Where the registry keeps a blob: for tests that spoil it."""
        value = digest.removeprefix("sha256:")
        blobs = self.storage / "docker/registry/v2/blobs/sha256"
        return blobs / value[:2] / value / "data"

    def push(self, layout: Path, name: str, *options: str) -> None:
        """Copy an image of an OCI layout into the registry with skopeo."""
        trust = ["--dest-tls-verify=false"]
        if self.ca_file is not None:
            trust = [f"--dest-cert-dir={self.ca_file.parent}", f"--dest-creds={USER}:{PASSWORD}"]
        pushed = subprocess.run(
            [program("skopeo"), "--insecure-policy", "copy", "--quiet", *trust, *options]
            + [f"oci:{layout}", f"docker://{self.host}/{name}"],
            check=False,
            capture_output=True,
            timeout=60,
        )
        assert pushed.returncode == 0, pushed.stderr.decode()


@contextlib.contextmanager
def serve(
    directory: Path, *, authority: Authority | None = None, auth: dict[str, object] | None = None
) -> Iterator[RealRegistry]:
    """Run docker-registry until the end of the context."""
    directory.mkdir()
    port = _free_port()
    http_section: dict[str, object] = {"addr": f"127.0.0.1:{port}"}
    if authority is not None:
        certificate, key = authority.issue(directory.name)
        http_section["tls"] = {"certificate": str(certificate), "key": str(key)}
    config = {
        "version": 0.1,
        "log": {"level": "error", "accesslog": {"disabled": True}},
        "storage": {"filesystem": {"rootdirectory": str(directory / "storage")}},
        "http": http_section,
        "compatibility": {"schema1": {"enabled": True}},
    }
    if auth is not None:
        config["auth"] = auth
    (directory / "config.yml").write_text(json.dumps(config))  # JSON is YAML
    with (directory / "log").open("wb") as log:
        process = subprocess.Popen(
            [program("docker-registry"), "serve", str(directory / "config.yml")],
            stdout=log,
            stderr=log,
        )
        try:
            _wait_for_port(port, process, directory / "log")
            scheme = "http" if authority is None else "https"
            ca_file = None if authority is None else authority.ca_file
            yield RealRegistry(f"{scheme}://127.0.0.1:{port}", directory / "storage", ca_file)
        finally:
            process.terminate()
            process.wait(15)


def htpasswd_auth(directory: Path) -> dict[str, object]:
    made = subprocess.run(
        [program("htpasswd"), "-nbB", USER, PASSWORD], check=True, capture_output=True
    )
    path = directory / "htpasswd"
    path.write_bytes(made.stdout)
    return {"htpasswd": {"realm": "site", "path": str(path)}}


@contextlib.contextmanager
def token_auth(authority: Authority) -> Iterator[dict[str, object]]:
    """A token server: alice may do everything, everybody may pull what is below public/."""
    certificate, key = authority.issue("tokens")
    server = _TokenServer(certificate, key)
    thread = threading.Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    try:
        yield {
            "token": {
                "realm": f"https://127.0.0.1:{server.server_address[1]}/token",
                "service": "site registry, test",
                "issuer": "site",
                "rootcertbundle": str(authority.ca_file),
            }
        }
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


class _TokenServer(http.server.ThreadingHTTPServer):
    """Docker's token protocol: JSON web tokens signed with RS256."""

    daemon_threads = True

    def __init__(self, certificate: Path, key: Path) -> None:
        super().__init__(("127.0.0.1", 0), _TokenHandler)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate, key)
        self.socket = context.wrap_socket(
            self.socket, server_side=True, do_handshake_on_connect=False
        )
        loaded = serialization.load_pem_private_key(key.read_bytes(), None)
        assert isinstance(loaded, rsa.RSAPrivateKey)
        self.key = loaded
        der = x509.load_pem_x509_certificate(certificate.read_bytes()).public_bytes(
            serialization.Encoding.DER
        )
        self.chain = [base64.b64encode(der).decode()]

    def token(self, service: str, access: list[dict[str, object]]) -> str:
        now = int(time.time())
        header = {"typ": "JWT", "alg": "RS256", "x5c": self.chain}
        claims = {
            "iss": "site",
            "sub": "",
            "aud": service,
            "exp": now + 300,
            "nbf": now - 10,
            "iat": now,
            "jti": str(uuid.uuid4()),
            "access": access,
        }
        signed = (
            f"{_base64url(json.dumps(header).encode())}.{_base64url(json.dumps(claims).encode())}"
        )
        signature = self.key.sign(signed.encode(), padding.PKCS1v15(), hashes.SHA256())
        return f"{signed}.{_base64url(signature)}"


class _TokenHandler(http.server.BaseHTTPRequestHandler):
    server: _TokenServer

    def do_GET(self) -> None:  # noqa: N802
        query = urllib.parse.parse_qs(urllib.parse.urlsplit(self.path).query)
        shown = self.headers.get("Authorization")
        expected = base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()
        if shown is not None and shown != f"Basic {expected}":
            self._answer(401, {"details": "incorrect username or password"})
            return
        access = []
        for scope in " ".join(query.get("scope", [])).split():
            kind, name, actions = scope.split(":")
            if shown is not None or name.startswith("public/"):
                granted = actions.split(",") if shown is not None else ["pull"]
                access.append({"type": kind, "name": name, "actions": granted})
        token = self.server.token(query["service"][0], access)
        self._answer(200, {"token": token, "expires_in": 300})

    def _answer(self, status: int, document: object) -> None:
        body = json.dumps(document).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        pass


def _base64url(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).decode().rstrip("=")


def _free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port


def _wait_for_port(port: int, process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + 15
    while time.monotonic() < deadline and process.poll() is None:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
            return
        time.sleep(0.05)
    pytest.fail(f"docker-registry did not start: {log.read_text()}")


# Images


def write_layout(
    directory: Path, *architectures: str, layer_size: int = 20_000, compressed: bool = True
) -> Path:
    """An OCI layout of one image for each architecture; several make an index of them."""
    (directory / "blobs/sha256").mkdir(parents=True)
    (directory / "oci-layout").write_text('{"imageLayoutVersion": "1.0.0"}')
    manifests = [_write_image(directory, name, layer_size, compressed) for name in architectures]
    if len(manifests) > 1:
        index = {"schemaVersion": 2, "mediaType": _OCI + "index.v1+json", "manifests": manifests}
        manifests = [_write_blob(directory, json.dumps(index).encode(), _OCI + "index.v1+json")]
    (directory / "index.json").write_text(json.dumps({"schemaVersion": 2, "manifests": manifests}))
    return directory


_OCI = "application/vnd.oci.image."


def _write_image(
    directory: Path, architecture: str, layer_size: int, compressed: bool
) -> dict[str, object]:
    tars = [_tar(f"{architecture}/{name}", layer_size) for name in ("lower", "middle", "upper")]
    config = {
        "architecture": architecture,
        "os": "linux",
        "config": {"Env": [f"ARCH={architecture}"], "Cmd": ["/bin/sh"], "WorkingDir": "/work"},
        "created": "2026-01-01T00:00:00Z",
        "history": [
            {"created": "2026-01-01T00:00:00Z", "created_by": name, "empty_layer": name == "label"}
            for name in ("lower", "middle", "label", "upper")
        ],
        "rootfs": {
            "type": "layers",
            "diff_ids": [f"sha256:{hashlib.sha256(tar).hexdigest()}" for tar in tars],
        },
    }
    manifest = {
        "schemaVersion": 2,
        "mediaType": _OCI + "manifest.v1+json",
        "config": _write_blob(directory, json.dumps(config).encode(), _OCI + "config.v1+json"),
        "layers": [
            _write_blob(directory, gzip.compress(tar, 1), _OCI + "layer.v1.tar+gzip")
            if compressed
            else _write_blob(directory, tar, _OCI + "layer.v1.tar")
            for tar in tars
        ],
    }
    written = _write_blob(directory, json.dumps(manifest).encode(), _OCI + "manifest.v1+json")
    return written | {"platform": {"architecture": architecture, "os": "linux"}}


def _write_blob(directory: Path, data: bytes, media_type: str) -> dict[str, object]:
    value = hashlib.sha256(data).hexdigest()
    (directory / "blobs/sha256" / value).write_bytes(data)
    return {"mediaType": media_type, "digest": f"sha256:{value}", "size": len(data)}


def _tar(name: str, size: int) -> bytes:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as tar:
        member = tarfile.TarInfo(name)
        member.size = size
        tar.addfile(member, io.BytesIO(os.urandom(size)))
    return stream.getvalue()
