# SPDX-License-Identifier: BSD-3-Clause
"""A small registry in this process, that can be told to misbehave."""

from __future__ import annotations

import base64
import dataclasses
import hashlib
import json
import re
import socket
import ssl
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

OCI_MANIFEST = "application/vnd.oci.image.manifest.v1+json"
OCI_INDEX = "application/vnd.oci.image.index.v1+json"
OCI_CONFIG = "application/vnd.oci.image.config.v1+json"
OCI_LAYER = "application/vnd.oci.image.layer.v1.tar"

_ROUTE = re.compile(r"/v2/(?P<repository>.+)/(?P<kind>manifests|blobs|tags)/(?P<wanted>[^/]+)")


def digest_of(data: bytes) -> str:
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


@dataclasses.dataclass
class Reply:
    """An answer; `cut_at` closes the connection after that many bytes of the body.

    `chunked` sends the body's last byte in a chunk of its own, and no length.
    """

    status: int = 200
    body: bytes = b""
    headers: dict[str, str] = dataclasses.field(default_factory=dict)
    cut_at: int | None = None
    chunked: bool = False


@dataclasses.dataclass(frozen=True)
class Request:
    method: str
    path: str
    headers: dict[str, str]  # names in lower case

    @property
    def authorization(self) -> str | None:
        return self.headers.get("authorization")


class FakeRegistry:
    """Blobs and manifests in memory, behind HTTP or HTTPS on 127.0.0.1.

    `access` is "open", "basic", or "bearer"; with "bearer" the token server is below /token, and
    `public` repositories may be read with a token for everybody.
    """

    def __init__(self, certificate: Path | None = None) -> None:
        self.manifests: dict[tuple[str, str], tuple[str, bytes]] = {}
        self.blobs: dict[str, bytes] = {}
        self.requests: list[Request] = []
        self.access = "open"
        self.user = ("alice", "pass:wörd")
        self.public: set[str] = set()
        self.token_field = "token"
        self.token_lifetime: int | None = 300
        self.realm: str | None = None
        self.hides_private = False
        self.pages = "by tag"  # of tags: or "by token", or "none" at all
        self.link_host = ""
        self.tokens: dict[str, bool] = {}  # token -> whether it is alice's
        self._scripts: list[tuple[str, list[Reply]]] = []
        self._lock = threading.Lock()
        self._server = _Server(self)
        self.scheme = "http"
        if certificate is not None:
            self.scheme = "https"
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(certificate)
            self._server.tls = context
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,))
        self._thread.start()

    @property
    def port(self) -> int:
        return self._server.server_address[1]

    @property
    def url(self) -> str:
        return f"{self.scheme}://127.0.0.1:{self.port}"

    def stop(self) -> None:
        self._server.shutdown()
        self._server.cut_connections()
        self._server.server_close()
        self._thread.join()

    # What it holds

    def add_blob(self, data: bytes) -> str:
        self.blobs[digest_of(data)] = data
        return digest_of(data)

    def add_manifest(
        self, repository: str, tag: str, document: object, media_type: str = OCI_MANIFEST
    ) -> str:
        data = document if isinstance(document, bytes) else json.dumps(document).encode()
        self.manifests[repository, tag] = self.manifests[repository, digest_of(data)] = (
            media_type,
            data,
        )
        return digest_of(data)

    def add_image(
        self,
        repository: str = "ns/app",
        tag: str = "v1",
        layers: tuple[bytes, ...] = (b"lower", b"upper"),
        config: dict[str, object] | None = None,
        **changes: object,
    ) -> str:
        """An image, and its manifest's digest; `changes` are made to the manifest."""
        document = image_document(self, layers, config or {"os": "linux", "architecture": "amd64"})
        return self.add_manifest(repository, tag, document | changes)

    # How it misbehaves

    def script(self, path_part: str, *replies: Reply) -> None:
        """Answer the next requests whose path holds `path_part` with `replies`."""
        self._scripts.append((path_part, list(replies)))

    def requests_for(self, path_part: str) -> list[Request]:
        return [request for request in self.requests if path_part in request.path]

    # How it answers

    def reply(self, request: Request) -> Reply:
        with self._lock:
            self.requests.append(request)
            for part, replies in self._scripts:
                if part in request.path and replies:
                    return replies.pop(0)
        if request.path.startswith("/token"):
            return self._token(request)
        if request.path == "/v2/":
            return self._refusal("", request) or Reply(200, b"{}")
        route = _ROUTE.fullmatch(request.path)
        if route is None:
            return _error(404, "UNSUPPORTED")
        refused = self._refusal(route["repository"], request)
        if refused is not None:
            return refused
        if route["kind"] == "tags":
            return self._tags(route["repository"], request)
        if route["kind"] == "manifests":
            return self._manifest(route["repository"], route["wanted"])
        return self._blob(route["wanted"], request)

    def _manifest(self, repository: str, wanted: str) -> Reply:
        found = self.manifests.get((repository, wanted))
        if found is None:
            return _error(404, "MANIFEST_UNKNOWN")
        media_type, data = found
        headers = {"Content-Type": media_type, "Docker-Content-Digest": digest_of(data)}
        return Reply(200, data, headers)

    def _tags(self, repository: str, request: Request) -> Reply:
        """As the distribution specification says, or (`pages`) as registries really do."""
        tags = sorted(
            name for known, name in self.manifests if known == repository and ":" not in name
        )
        if not tags:
            return _error(404, "NAME_UNKNOWN")
        query = parse_qs(urlsplit(request.path).query)
        last = query.get("last", [""])[0] if self.pages == "by tag" else ""
        start = int(query.get("token", ["0"])[0])
        tags = [tag for tag in tags if tag > last][start:]
        limit = int(query["n"][0]) if self.pages != "none" else len(tags)
        headers = {"Content-Type": "application/json"}
        if len(tags) > limit:
            where = f"last={tags[limit - 1]}"
            if self.pages == "by token":
                where = f"token={start + limit}"
            link = f"/v2/{repository}/tags/list?n={limit}&{where}"
            headers["Link"] = f'<{self.link_host}{link}>; rel="next"'
        content = {"name": repository, "tags": tags[:limit]}
        return Reply(200, json.dumps(content).encode(), headers)

    def _blob(self, digest: str, request: Request) -> Reply:
        data = self.blobs.get(digest)
        if data is None:
            return _error(404, "BLOB_UNKNOWN")
        wanted = re.fullmatch(r"bytes=(\d+)-(\d*)", request.headers.get("range", ""))
        if wanted is None:
            return Reply(200, data)
        start, last = int(wanted[1]), int(wanted[2] or len(data) - 1)
        content_range = f"bytes {start}-{last}/{len(data)}"
        return Reply(206, data[start : last + 1], {"Content-Range": content_range})

    def _refusal(self, repository: str, request: Request) -> Reply | None:
        shown = request.authorization or ""
        if self.access == "open":
            return None
        if self.access == "basic":
            if self._is_alice(shown):
                return None
            return _error(401, "UNAUTHORIZED", {"WWW-Authenticate": 'Basic realm="r"'})
        token = shown.removeprefix("Bearer ")
        if self.tokens.get(token) or (token in self.tokens and repository in self.public):
            return None
        if token in self.tokens and self.hides_private:
            return _error(404, "NAME_UNKNOWN")
        realm = self.realm or f"{self.url}/token"
        challenge = f'Bearer realm="{realm}",service="fake, service"' + (
            f',scope="repository:{repository}:pull"' if repository else ""
        )
        return _error(401, "UNAUTHORIZED", {"WWW-Authenticate": challenge})

    def _token(self, request: Request) -> Reply:
        shown = request.authorization
        if shown is not None and not self._is_alice(shown):
            return _error(401, "UNAUTHORIZED")
        query = parse_qs(urlsplit(request.path).query)
        assert query["service"] == ["fake, service"]
        token = f"token-{len(self.tokens)}"
        self.tokens[token] = shown is not None
        answer: dict[str, object] = {self.token_field: token}
        if self.token_lifetime is not None:
            answer["expires_in"] = self.token_lifetime
        return Reply(200, json.dumps(answer).encode())

    def _is_alice(self, shown: str) -> bool:
        return shown == "Basic " + base64.b64encode(":".join(self.user).encode()).decode()


def image_document(
    registry: FakeRegistry, layers: tuple[bytes, ...], config: dict[str, object]
) -> dict[str, object]:
    config_data = json.dumps(config).encode()
    return {
        "schemaVersion": 2,
        "mediaType": OCI_MANIFEST,
        "config": {
            "mediaType": OCI_CONFIG,
            "digest": registry.add_blob(config_data),
            "size": len(config_data),
        },
        "layers": [
            {"mediaType": OCI_LAYER, "digest": registry.add_blob(layer), "size": len(layer)}
            for layer in layers
        ],
    }


def _error(status: int, code: str, headers: dict[str, str] | None = None) -> Reply:
    body = json.dumps({"errors": [{"code": code, "message": f"fake {code.lower()}"}]}).encode()
    return Reply(status, body, {"Content-Type": "application/json", **(headers or {})})


class _Server(ThreadingHTTPServer):
    daemon_threads = False
    tls: ssl.SSLContext | None = None

    def __init__(self, registry: FakeRegistry) -> None:
        self.registry = registry
        self._open: set[socket.socket] = set()
        super().__init__(("127.0.0.1", 0), _Handler)

    def get_request(self):
        connection, address = super().get_request()
        if self.tls is not None:
            connection = self.tls.wrap_socket(
                connection, server_side=True, do_handshake_on_connect=False
            )
        self._open.add(connection)
        return connection, address

    def shutdown_request(self, request):
        self._open.discard(request)
        super().shutdown_request(request)

    def cut_connections(self) -> None:
        for connection in list(self._open):
            try:
                connection.shutdown(socket.SHUT_RDWR)
            except OSError:
                continue

    def handle_error(self, request, client_address) -> None:
        """A client that goes away is what many tests are about."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: _Server

    def do_GET(self) -> None:  # noqa: N802
        headers = {name.lower(): value for name, value in self.headers.items()}
        reply = self.server.registry.reply(Request(self.command, self.path, headers))
        body = reply.body if reply.cut_at is None else reply.body[: reply.cut_at]
        self.send_response(reply.status)
        for name, value in reply.headers.items():
            self.send_header(name, value)
        if reply.chunked:
            self.send_header("Transfer-Encoding", "chunked")
            parts = [part for part in (body[:-1], body[-1:]) if part]
            body = b"".join(b"%x\r\n%s\r\n" % (len(part), part) for part in parts)
            body += b"0\r\n\r\n"
        elif "Content-Length" not in reply.headers:
            self.send_header("Content-Length", str(len(reply.body)))
        self.end_headers()
        self.wfile.write(body)
        if reply.cut_at is not None:
            self.close_connection = True

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        pass


# What tests do with it


def redirect(url, status=307):
    return Reply(status, headers={"Location": url})


def read_blob(client, digest):
    with client.open_blob("ns/app", digest) as answer:
        return answer.read_all(1 << 20, "blob")


def resolves_to(monkeypatch, **hosts):
    """Make names resolve as in `hosts` (dots written as __); everything else as usual."""
    real = socket.getaddrinfo

    def fake(host, port, *args, **kwargs):
        address = hosts.get(host.replace(".", "__"))
        return real(address or host, port, *args, **kwargs)

    monkeypatch.setattr(socket, "getaddrinfo", fake)
