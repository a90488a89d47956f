# SPDX-License-Identifier: BSD-3-Clause
"""Requests that nobody thought of: each gets an answer, never that the gateway itself failed."""

from __future__ import annotations

import json
import socket
from urllib.parse import quote_from_bytes

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from shifter_common import munge
from tests.integration.conftest import SYSTEM

pytestmark = pytest.mark.munge

SECRET = "fuzz-secret-7d1c"
LOGINS = json.dumps({"authorized_locations": {"default": f"user:{SECRET}"}}).encode()
REFUSALS = frozenset({501, 505})  # what HTTP has for methods, codings and versions unheard of

_METHODS = st.sampled_from(
    ("GET", "POST", "DELETE", "PUT", "HEAD", "PATCH", "OPTIONS", "get", "POST\t", "X-ODD")
)
_VERBS = st.sampled_from(
    (
        *("pull", "lookup", "expire", "image", "doimport", "list", "queue", "metrics"),
        *("autoexpire", "inspect", "acl", "cancel", "requeue", "tags", "login", "export"),
    )
)
_SYSTEMS = st.one_of(st.just(SYSTEM), st.sampled_from(("nosuch", "", "..", "%00")))
_TYPES = st.sampled_from(("docker", "custom", "id", "local", "", "DOCKER", "%2e%2e"))
_BYTES = st.binary(max_size=12).map(quote_from_bytes)
_TAGS = st.one_of(
    st.sampled_from(("app:1", "a/b/c:d", "app@sha256:" + "0" * 64, "f" * 64, "127.0.0.1:1/a:b")),
    _BYTES,
    st.lists(st.one_of(_BYTES, st.sampled_from(("..", ".", "", ":", "@", "a"))), max_size=5).map(
        "/".join
    ),
)
_QUERIES = st.one_of(
    st.just(""),
    _BYTES.map("?limit={}".format),
    _BYTES.map("?last={}".format),
    _BYTES.map("?{}".format),
)
_USUAL_PATHS = st.builds("/api/{}/{}/{}/{}/{}".format, _VERBS, _SYSTEMS, _TYPES, _TAGS, _QUERIES)
_PATHS = st.one_of(
    _USUAL_PATHS,
    _USUAL_PATHS,
    st.builds("/api/{}/{}/{}".format, _VERBS, _SYSTEMS, _QUERIES),
    _BYTES.map("/{}".format),
    st.sampled_from(("/healthz", "/readyz", "/metrics", "/", "//", "*", "http://other/api/")),
)

_KEYS = st.sampled_from(
    (
        *("allowed_uids", "allowed_gids", "allowed_users", "allowed_groups", "public"),
        *("filepath", "format", "location", "x"),
    )
)
_SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.text(max_size=20),
    st.sampled_from(("1000", "1,2", "-1", "root", "/etc/passwd", "squashfs", "4" * 400)),
)
_VALUES = st.recursive(
    _SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_KEYS, inner, max_size=3),
    max_leaves=6,
)
_BODIES = st.one_of(
    st.just(b""),
    st.dictionaries(_KEYS, _VALUES, max_size=5).map(lambda value: json.dumps(value).encode()),
    _VALUES.map(lambda value: json.dumps(value).encode("utf-8", "surrogatepass")),
    st.binary(max_size=60),
)
_HEADERS = st.lists(
    st.one_of(
        st.sampled_from(
            (
                b"Content-Type: application/json",
                b"Content-Type: text/plain; charset=utf-16",
                b"Content-Encoding: gzip",
                b"Expect: 100-continue",
                b"X-Forwarded-Proto: https",
                b"X-HTTP-Method-Override: DELETE",
                b"Range: bytes=0-",
                b"Authorization: Basic " + SECRET.encode(),
                b"authentication: MUNGE:" + SECRET.encode(),
                b"Accept: text/html",
            )
        ),
        st.binary(min_size=1, max_size=12).map(b"X-Odd: ".__add__),
    ),
    max_size=3,
)


def test_no_request_makes_the_gateway_fail_or_tell_a_secret(make_gateway):
    gateway = make_gateway()
    host, _, port = gateway.url.removeprefix("http://").partition(":")

    @settings(
        max_examples=350,
        deadline=None,
        derandomize=True,
        database=None,
        suppress_health_check=list(HealthCheck),
    )
    @given(_METHODS, _PATHS, _HEADERS, _BODIES, st.booleans())
    def ask(method, path, headers, body, is_known):
        lines = [f"{method} {path} HTTP/1.1".encode(), b"Host: gateway", *headers]
        lines += [b"Content-Length: %d" % len(body), b"Connection: close"]
        if is_known:
            credential = munge.encode(LOGINS, socket=str(gateway.munge_socket))
            lines.append(f"authentication: {credential}".encode())
        with socket.create_connection((host, int(port)), timeout=20) as client:
            client.sendall(b"\r\n".join(lines) + b"\r\n\r\n" + body)
            client.shutdown(socket.SHUT_WR)
            answer = b"".join(iter(lambda: client.recv(65536), b""))
        require_sound(answer, method)

    ask()

    assert SECRET not in gateway.log
    assert "Traceback" not in gateway.log
    assert gateway.request("GET", "/api/health/").status_code == 200


def require_sound(answer: bytes, method: str) -> None:
    head, separator, body = answer.removeprefix(b"HTTP/1.1 100 Continue\r\n\r\n").partition(
        b"\r\n\r\n"
    )
    assert separator, answer
    status = int(head.split()[1])
    assert status < 500 or status in REFUSALS, answer
    assert SECRET.encode() not in answer
    if status < 400 or method.upper() == "HEAD":
        return
    error = json.loads(body)
    assert error["status"] == status
    assert isinstance(error["error"], str)
    assert error["error"]
