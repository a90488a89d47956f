# SPDX-License-Identifier: BSD-3-Clause
"""Live pages hold up nobody: neither the API's other requests nor its end."""

from __future__ import annotations

import contextlib
import socket
import subprocess
import sys
import time
from pathlib import Path
from urllib.parse import urlsplit

import pytest
import requests

from shifter_imagegw.web import live
from tests.integration.conftest import SYSTEM, free_port, stop_process, wait_until

pytestmark = [pytest.mark.registry, pytest.mark.munge]

EVENTS = f"/web/{SYSTEM}/queue/events"


@pytest.fixture
def gateway(make_gateway):
    return make_gateway(AllowAnonymous=True, arguments=["--api-workers", "1"])


@pytest.fixture
def streams():
    """Open a stream: what has come of it first, and the connection."""
    with contextlib.ExitStack() as opened:

        def open_stream(url):
            address = urlsplit(url)
            client = socket.create_connection((address.hostname, address.port), timeout=20)
            opened.enter_context(client)
            client.sendall(f"GET {EVENTS} HTTP/1.1\r\nHost: gateway\r\n\r\n".encode())
            return client

        yield open_stream


def read_until(client, text):
    found = b""
    while text not in found:
        more = client.recv(65536)
        assert more, found
        found += more
    return found


def test_a_stream_begins_with_what_there_is(gateway, streams):
    found = read_until(streams(gateway.url), b"</section>")

    assert b"200 OK" in found
    assert b"text/event-stream" in found
    assert b"event: rows\ndata: <section" in found


def test_more_streams_than_there_may_be_hold_up_no_request(gateway, streams):
    for client in [streams(gateway.url) for _ in range(live.MOST)]:
        read_until(client, b"event: rows")

    before = time.monotonic()
    for _ in range(20):
        assert gateway.request("GET", f"/api/list/{SYSTEM}/").status_code == 200
    assert time.monotonic() - before < 10

    # Who finds no room is told to look now and then.
    assert b"204 NO CONTENT" in read_until(streams(gateway.url), b"\r\n\r\n")


def test_a_stream_whose_browser_has_gone_makes_room(gateway, streams, wait_for):
    clients = [streams(gateway.url) for _ in range(live.MOST)]
    for client in clients:
        read_until(client, b"event: rows")
    for client in clients:
        client.close()

    def has_room():
        # A change makes every stream write, and those find that nobody reads.
        gateway.request("POST", f"/api/pull/{SYSTEM}/docker/none{time.monotonic_ns()}:1/")
        return b"200 OK" in read_until(streams(gateway.url), b"\r\n\r\n")

    assert wait_for(has_room, seconds=60)


def test_streams_do_not_keep_a_gateway_from_ending(gateway, streams):
    client = streams(gateway.url)
    read_until(client, b"event: rows")

    before = time.monotonic()
    assert gateway.stop() == 0

    assert time.monotonic() - before < 10
    assert client.recv(65536) in (b"", b"0\r\n\r\n")


def test_plain_gunicorn_has_no_streams_and_all_else(gateway, tmp_path):
    gateway.stop()
    port = free_port()
    program = Path(sys.executable).with_name("gunicorn")
    with (tmp_path / "gunicorn.log").open("wb") as log:
        process = subprocess.Popen(
            [program, "--bind", f"127.0.0.1:{port}", "shifter_imagegw.wsgi:application"],
            env={"GWCONFIG": str(gateway.config_path), "PATH": "/usr/bin:/bin"},
            stdout=log,
            stderr=log,
        )
    try:
        url = f"http://127.0.0.1:{port}"
        wait_until(lambda: answers(url), what="gunicorn")
        assert requests.get(f"{url}{EVENTS}", timeout=10).status_code == 204
        assert "Queue of" in requests.get(f"{url}/web/{SYSTEM}/queue", timeout=10).text
    finally:
        stop_process(process)


def answers(url):
    try:
        return requests.get(f"{url}/healthz", timeout=5).status_code == 200
    except requests.ConnectionError:
        return False
