# SPDX-License-Identifier: BSD-3-Clause
"""Whatever comes over the wire, the answer is JSON with the right status, and nothing is queued."""

from __future__ import annotations

import json
import socket
import time

import pytest
import requests

from shifter_common import munge
from tests.integration.conftest import SYSTEM

pytestmark = pytest.mark.munge

PULL = f"/api/pull/{SYSTEM}/docker/app:1/"
ACL = f"/api/acl/{SYSTEM}/docker/app:1/"
LOGIN = f"/api/login/{SYSTEM}/"
LOOKUP = f"/api/lookup/{SYSTEM}/docker/app:1/"
TRUE_HEAD = "Host: gateway\r\n"


@pytest.fixture(scope="module")
def ask(gateway):
    """`ask("GET", path, body=b"", headers="")`: send bytes, get `(status, headers, body)`."""
    host, _, port = gateway.url.removeprefix("http://").partition(":")

    def send(method, path, body=b"", *, headers="", with_credential=True):
        if with_credential:
            credential = munge.encode(socket=str(gateway.munge_socket))
            headers += f"authentication:{credential}\r\n"
        if body and "Transfer-Encoding" not in headers:
            headers += f"Content-Length: {len(body)}\r\n"
        head = f"{method} {path} HTTP/1.1\r\n{TRUE_HEAD}{headers}Connection: close\r\n\r\n"
        return raw(head.encode("latin-1") + body)

    def raw(request):
        with socket.create_connection((host, int(port)), timeout=20) as client:
            client.sendall(request)
            return parsed(b"".join(iter(lambda: client.recv(65536), b"")))

    send.raw = raw
    return send


@pytest.fixture(autouse=True)
def nothing_is_queued(gateway):
    yield
    answer = gateway.request("GET", f"/api/queue/{SYSTEM}/")
    images = {item["image"] for item in answer.json()["list"]}
    assert not images & {"app:1", "a", "refused:1"}, images


def parsed(answer):
    head, separator, body = answer.partition(b"\r\n\r\n")
    assert separator, answer
    status, *lines = head.decode("latin-1").split("\r\n")
    headers = dict(line.lower().split(": ", 1) for line in lines)
    return int(status.split()[1]), headers, body


def assert_refused(answer, status, text=""):
    found, headers, body = answer
    assert found == status, body
    assert headers["content-type"] == "application/json"
    assert headers["content-length"] == str(len(body))
    content = json.loads(body)
    assert content.keys() == {"status", "error", "message"}
    assert content["status"] == status
    assert text in content["error"]


# Paths


@pytest.mark.parametrize(
    "tag",
    [
        "..",
        "../../etc/passwd",
        "a/../b:1",
        "%2e%2e",
        "%2e%2e%2f%2e%2e%2fetc%2fpasswd",
        "%252e%252e%252fetc",
        "..%c0%af..%c0%af",
        "a%00b",
        "a%0ab",
        "a%0d%0aX-Header:%201",
        "%d1%80%d0%be%d0%b4:1",  # Unicode letters
        "ubuntu%ef%bc%9a24.04",  # a colon of full width
        "%ff%fe",
        "a%ed%a0%80b",
        "a b".replace(" ", "%20"),
        "%24(id)",
        "a;id",
        "-rf",
        "a:",
        "%",
        "%zz",
        "x" * 4096,
    ],
)
@pytest.mark.parametrize(
    "verb", ["pull", "lookup", "expire", "inspect", "acl", "cancel", "requeue", "tags", "export"]
)
def test_what_can_be_no_image_is_refused(ask, verb, tag):
    method = "POST" if verb in ("pull", "acl", "cancel", "requeue") else "GET"

    assert_refused(ask(method, f"/api/{verb}/{SYSTEM}/docker/{tag}/"), 400)


@pytest.mark.parametrize("image_type", ["vfs", "DOCKER", "d%00cker", "%e2%80%8bdocker", "x" * 4096])
def test_an_unknown_type_is_refused(ask, image_type):
    answer = ask("GET", f"/api/lookup/{SYSTEM}/{image_type}/app:1/")

    assert_refused(answer, 400, "unknown image type")


@pytest.mark.parametrize("system", ["nosuch", SYSTEM.upper(), "%2e%2e", f"{SYSTEM}%00", "x" * 4096])
@pytest.mark.parametrize("verb", ["list", "queue", "metrics", "autoexpire"])
def test_an_unknown_system_is_not_found(ask, verb, system):
    assert_refused(ask("GET", f"/api/{verb}/{system}/"), 404)


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/api/", 404),
        ("/nothing", 404),
        ("/api/lookup//docker/app:1/", 404),
        ("/%2e%2e/%2e%2e/etc/passwd", 404),
        ("/api/" + "x" * 9000, 414),
        ("/" + "%41" * 3000, 414),
        (f"/api/metrics/{SYSTEM}/?limit=" + "9" * 5000, 400),
        (f"/api/metrics/{SYSTEM}/?limit=1&limit=x&limit=%00", 200),
    ],
)
def test_a_path_that_leads_nowhere_is_an_error_in_json(ask, path, status):
    answer = ask("GET", path)

    if status == 200:
        assert answer[0] == 200
    else:
        assert_refused(answer, status)


# Methods


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("PUT", PULL),
        ("GET", PULL),
        ("DELETE", LOOKUP),
        ("POST", LOOKUP),
        ("PATCH", LOOKUP),
        ("TRACE", LOOKUP),
        ("OPTIONS", LOOKUP),
        ("PROPFIND", LOOKUP),
        ("GET", f"/api/doimport/{SYSTEM}/custom/a/"),
        ("POST", f"/api/inspect/{SYSTEM}/docker/app:1/"),
        ("GET", f"/api/acl/{SYSTEM}/docker/app:1/"),
        ("GET", f"/api/cancel/{SYSTEM}/docker/app:1/"),
        ("GET", f"/api/requeue/{SYSTEM}/docker/app:1/"),
        ("GET", f"/api/login/{SYSTEM}/"),
        ("DELETE", f"/api/tags/{SYSTEM}/docker/app/"),
        ("PUT", f"/api/export/{SYSTEM}/docker/app:1/"),
    ],
)
def test_a_wrong_method_is_refused_and_the_right_ones_are_named(ask, method, path):
    answer = ask(method, path)

    assert_refused(answer, 405, f"{method} is not allowed on")
    assert {"GET", "POST"} & set(answer[1]["allow"].upper().split(", "))


def test_options_on_everything_is_refused(ask):
    assert_refused(ask("OPTIONS", "*", with_credential=False), 404)


def test_connect_is_refused(ask):
    assert ask("CONNECT", "gateway:443")[0] in (400, 404, 405)


@pytest.mark.parametrize("path", [LOOKUP, f"/api/list/{SYSTEM}/"])
def test_head_is_get_without_a_body(ask, path):
    status, headers, body = ask("HEAD", path)

    assert (status, body) == (404 if path == LOOKUP else 200, b"")
    assert headers["content-type"] == "application/json"


@pytest.mark.parametrize("path", [f"/api/expire/{SYSTEM}/docker/a/", f"/api/autoexpire/{SYSTEM}/"])
def test_head_changes_nothing(ask, path):
    assert ask("HEAD", path)[0] == 405


# Bodies


@pytest.mark.parametrize(
    ("body", "status", "text"),
    [
        (b"{", 400, "is not JSON"),
        (b"not json", 400, "is not JSON"),
        (b"\xff\xfe\x00", 400, "is not JSON"),
        (b"\x1f\x8b\x08\x00", 400, "is not JSON"),
        (b"[]", 400, "must be a JSON object"),
        (b"null", 400, "must be a JSON object"),
        (b"[" * 60_000, 400, "is not JSON"),
        (b'{"a":' * 10_000, 400, "is not JSON"),
        (b'{"allowed_uids":"1","allowed_uids":"2"}', 400, "more than once"),
        (b'{"allowed_uids":"1;2"}', 400, "allowed_uids must be numbers"),
        (b'{"allowed_uids":"1,-2"}', 400, "allowed_uids must be numbers"),
        (b'{"allowed_uids":"0x10"}', 400, "allowed_uids must be numbers"),
        (b'{"allowed_gids":[1e999]}', 400, "allowed_gids must be numbers"),
        (b'{"allowed_gids":[NaN]}', 400, "allowed_gids must be numbers"),
        (b'{"allowed_users":"no such user"}', 400, "the gateway knows no user 'no such user'"),
        (b'{"allowed_users":"..\\u0000"}', 400, "the gateway knows no user"),
        (b'{"a":"' + b"x" * 70_000 + b'"}', 413, "too long"),
    ],
    ids=lambda value: repr(value)[:24],
)
def test_a_body_that_is_not_understood_is_refused(ask, body, status, text):
    assert_refused(ask("POST", PULL, body), status, text)


@pytest.mark.parametrize(
    ("fields", "status", "text"),
    [
        ({}, 400, "no text 'filepath'"),
        ({"filepath": "/a"}, 400, "no text 'format'"),
        ({"filepath": ["/a"], "format": "auto"}, 400, "no text 'filepath'"),
        ({"filepath": "a", "format": "auto"}, 400, "absolute path"),
        ({"filepath": "/a/../etc", "format": "auto"}, 400, "must not hold '..'"),
        ({"filepath": "/a\0", "format": "auto"}, 400, "control characters"),
        ({"filepath": "/" + "a" * 5000, "format": "auto"}, 400, "longer than"),
        ({"filepath": "/a", "format": "zip"}, 400, "cannot import from format 'zip'"),
        ({"filepath": "/a", "format": "auto"}, 403, "you may not import images"),
    ],
)
def test_an_import_that_cannot_be_meant_is_refused(ask, fields, status, text):
    answer = ask("POST", f"/api/doimport/{SYSTEM}/custom/refused:1/", json.dumps(fields).encode())

    assert_refused(answer, status, text)


@pytest.mark.parametrize(
    ("path", "body", "status", "text"),
    [
        (ACL, b"{", 400, "is not JSON"),
        (ACL, b'{"public":1}', 400, "public must be true or false"),
        (ACL, b'{"public":"true"}', 400, "public must be true or false"),
        (ACL, b'{"allowed_uids":[true]}', 400, "allowed_uids must be numbers"),
        (ACL, b'{"allowed_uids":"4294967295"}', 400, "allowed_uids must be numbers"),
        (ACL, b'{"public":true,"public":false}', 400, "more than once"),
        (ACL, b'{"public":true}', 404, "image not found"),
        (LOGIN, b"", 400, "no text 'location'"),
        (LOGIN, b'{"location":["default"]}', 400, "no text 'location'"),
        (LOGIN, b'{"location":"default"}', 400, "carries no login"),
        (LOGIN, b'{"location":"http://169.254.169.254/"}', 404, "there is no location"),
        (LOGIN, b'{"location":"a\\r\\nX-Header: 1"}', 404, "there is no location"),
        (LOGIN, b'{"location":"\\ud800"}', 404, "there is no location"),
        (LOGIN, b'{"location":"' + b"x" * 70_000 + b'"}', 413, "too long"),
    ],
    ids=lambda value: repr(value)[:40],
)
def test_what_cannot_be_changed_or_tried_is_refused(ask, path, body, status, text):
    answer = ask("POST", path, body)

    assert_refused(answer, status, text)
    assert "x-header" not in answer[1]


@pytest.mark.parametrize(
    "query",
    ["limit=0", "limit=1001", "limit=x", "limit=-1", "last=", "last=a%0d%0ab", "last=" + "x" * 200],
)
def test_a_page_of_tags_that_cannot_be_meant_is_refused(ask, query):
    assert_refused(ask("GET", f"/api/tags/{SYSTEM}/docker/app/?{query}"), 400)


@pytest.mark.parametrize(
    "repository",
    [
        "169.254.169.254:80/app",
        "localhost:1/app",
        "127.0.0.1:22/app",
        "app:1",
        "a@sha256:" + "0" * 64,
    ],
)
def test_no_registry_is_asked_that_is_no_location(ask, repository):
    assert_refused(ask("GET", f"/api/tags/{SYSTEM}/docker/{repository}/"), 400)


@pytest.mark.parametrize("size", [10, 70_000, 300_000])
def test_chunks_are_as_good_as_a_length(ask, size):
    body = b"".join(b"%x\r\n%b\r\n" % (1000, b"[" * 1000) for _ in range(size // 1000))
    body += b"%x\r\n%b\r\n0\r\n\r\n" % (size % 1000 or 1, b"[" * (size % 1000 or 1))

    answer = ask("POST", PULL, body, headers="Transfer-Encoding: chunked\r\n")

    assert_refused(answer, 400 if size == 10 else 413)


@pytest.mark.parametrize(
    "body",
    [b"zz\r\n{}\r\n0\r\n\r\n", b"2\r\n{}0\r\n\r\n0\r\n\r\n", b"-2\r\n{}\r\n0\r\n\r\n"],
    ids=["no number", "no line end", "negative"],
)
def test_broken_chunks_are_refused(ask, body):
    assert_refused(ask("POST", PULL, body, headers="Transfer-Encoding: chunked\r\n"), 400)


# What is no HTTP


@pytest.mark.parametrize(
    ("request_", "status"),
    [
        (b"nonsense\r\n\r\n", 400),
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n", 400),  # TLS
        (b"GET /\r\n\r\n", 400),
        (b"G\x00T / HTTP/1.1\r\n\r\n", 400),
        (b"GET / HTTP/9.9\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nno colon\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nna me: x\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: x\r\n folded\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nX: a\x00b\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nX: " + b"a" * 70_000 + b"\r\n\r\n", 431),
        (b"GET / HTTP/1.1\r\n" + b"X: a\r\n" * 200 + b"\r\n", 431),
        (b"GET / HTTP/1.1\r\n" + b"X-1: " + b"a" * 200_000 + b"\r\n\r\n", 431),
        (b"POST / HTTP/1.1\r\nContent-Length: x\r\n\r\n", 400),
        (b"POST / HTTP/1.1\r\nContent-Length: -1\r\n\r\n", 400),
        (b"POST / HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab", 400),
        (
            b"POST / HTTP/1.1\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
            400,
        ),
        (b"POST / HTTP/1.1\r\nTransfer-Encoding: gzip\r\n\r\n", 400),
        (b"POST / HTTP/1.1\r\nTransfer-Encoding: unheard-of\r\n\r\n", 501),
        (b"POST / HTTP/1.1\r\nExpect: the-unexpected\r\n\r\n", 417),
    ],
    ids=lambda value: repr(value)[:40],
)
def test_what_is_no_http_is_refused_in_json(ask, request_, status):
    assert_refused(ask.raw(request_), status)


def test_a_broken_header_is_not_quoted_in_the_log(ask, gateway):
    ask.raw(b"GET / HTTP/1.1\r\nauthentication: MUNGE:se\x00cret\r\n\r\n")

    assert "cret" not in gateway.log


def test_who_does_not_hang_up_holds_up_nobody(gateway):
    host, _, port = gateway.url.removeprefix("http://").partition(":")
    clients = [socket.create_connection((host, int(port))) for _ in range(20)]
    try:
        for client in clients:
            client.sendall(b"nonsense\r\n\r\n")
        started = time.monotonic()
        assert requests.get(f"{gateway.url}/api/health/", timeout=20).status_code == 200
        assert time.monotonic() - started < 4
    finally:
        for client in clients:
            client.close()


# Headers


@pytest.mark.parametrize(
    "credential",
    ["", "MUNGE::", "MUNGE:" + "A" * 60_000 + ":", "good:root:root::0:0", "Basic cm9vdA==", "é"],
    ids=lambda value: value[:20],
)
def test_a_header_that_holds_no_credential_is_refused(ask, credential):
    headers = f"authentication: {credential}\r\n"

    assert_refused(ask("POST", PULL, headers=headers, with_credential=False), 401)


def test_an_oversized_credential_is_refused(ask):
    headers = "authentication: MUNGE:" + "A" * 70_000 + ":\r\n"

    assert_refused(ask("GET", LOOKUP, headers=headers, with_credential=False), 431)


def test_two_credentials_are_refused_though_one_is_good(ask):
    assert_refused(ask("POST", PULL, headers="authentication: MUNGE:x:\r\n"), 401, "not alone")


def test_a_request_without_credential_is_refused(ask):
    answer = ask("POST", PULL, with_credential=False)

    assert_refused(answer, 401, "the request has no 'authentication' header")


@pytest.mark.parametrize("host", ["<script>", "a b", "x" * 5000, "[::1", "ü"])
def test_a_strange_host_name_harms_nothing(ask, host):
    answer = ask.raw(f"GET /nothing HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n".encode())

    assert answer[0] in (400, 404)
    assert answer[1]["content-type"] == "application/json"
