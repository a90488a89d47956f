# SPDX-License-Identifier: BSD-3-Clause
"""The routes of a whole gateway, asked over HTTP as clients of the original ask."""

from __future__ import annotations

import http.client
import json
import os
import re
import socket
from pathlib import Path

import pytest

from shifter_common import munge
from tests.integration.conftest import SYSTEM, gateways

pytestmark = pytest.mark.munge

RECORDED = Path(__file__).parents[2] / "golden" / "cli"
REQUEST = re.compile(r"^(?:GET|POST) /.*?\n\n", re.MULTILINE | re.DOTALL)


@pytest.fixture(scope="module")
def site(registry, munged, tmp_path_factory):
    """A gateway with everything switched on, where what nobody looks up expires at once."""
    with gateways(registry, munged, tmp_path_factory) as make:
        yield make(
            Metrics=True, ImportUsers=["root"], ImageExpirationTimeout="00:00:00:00",
            MaxQueuedPullsPerUser=1, arguments=["--workers", "1"],
        )  # fmt: skip


def recorded_requests():
    """Every request that the original's client was seen to send, once."""
    found = {}
    for path in sorted(RECORDED.glob("wire_*.txt")):
        text = path.read_text().partition("== answer ==")[0]
        for request in REQUEST.findall(text):
            body = '{"allowed_uids":"1001,5","allowed_gids":"1002,7"}'
            found[request + (body if "Content-Length: 49" in request else "")] = path.stem
    return [pytest.param(request, id=name) for request, name in found.items()]


@pytest.mark.parametrize("request_", recorded_requests())
def test_the_bytes_that_the_originals_client_sends_are_understood(site, request_):
    host, _, port = site.url.removeprefix("http://").partition(":")
    credential = munge.encode(socket=str(site.munge_socket))
    text = request_.replace("mycluster", SYSTEM).replace("<credential>", credential)

    with socket.create_connection((host, int(port)), timeout=20) as client:
        client.sendall(text.replace("\n", "\r\n").encode())
        answer = http.client.HTTPResponse(client)
        answer.begin()
        body = answer.read(answer.length)
        client.setblocking(False)
        with pytest.raises(BlockingIOError):
            client.recv(1)  # nothing follows

    assert answer.status in (200, 404), body
    assert answer.headers["Content-Type"] == "application/json"
    assert answer.headers["Content-Length"] == str(len(body))
    assert json.loads(body)


def test_an_import_is_asked_for_followed_found_counted_and_removed(site, tmp_path, wait_for):
    tree = tmp_path / "tree"
    (tree / "bin").mkdir(parents=True)
    (tree / "bin" / "tool").write_bytes(os.urandom(100))
    body = {"filepath": str(tree), "format": "directory", "allowed_users": "root,daemon"}

    first = site.request("POST", f"/api/doimport/{SYSTEM}/custom/tool:1/", json=body)
    assert (first.status_code, first.json()["status"]) == (200, "INIT"), first.text
    seen = set()

    def ended():
        record = site.request("POST", f"/api/doimport/{SYSTEM}/custom/tool:1/", json=body).json()
        seen.add(record["status"])
        return record if record["status"] in ("READY", "FAILURE") else None

    record = wait_for(ended)
    assert record["status"] == "READY", record["status_message"]
    assert seen <= {"PENDING", "PULLING", "EXAMINATION", "CONVERSION", "TRANSFER", "READY"}
    assert record["userACL"] == [0, 1]
    assert record["expiration"] == pytest.approx(record["last_pull"], abs=5)

    found = site.lookup("custom:tool:1").json()
    assert (found["id"], found["tag"]) == (record["id"], ["tool:1"])
    (row,) = site.request("GET", f"/api/metrics/{SYSTEM}/?limit=1").json()
    assert (row["user"], row["tag"], row["id"]) == ("root", "tool:1", record["id"])

    removed = site.request("DELETE", f"/api/image/{SYSTEM}/id/{record['id']}/")
    assert removed.json() == {"status": True}
    wait_for(lambda: not list(site.image_dir.glob(f"{record['id']}.*")))
    assert site.lookup("custom:tool:1").status_code == 404


def test_an_import_that_fails_says_why(site, tmp_path, wait_for):
    body = {"filepath": str(tmp_path / "none.sqsh"), "format": "squashfs"}

    def failure():
        record = site.request("POST", f"/api/doimport/{SYSTEM}/custom/none:1/", json=body).json()
        return record if record["status"] == "FAILURE" else None

    assert "none.sqsh" in wait_for(failure)["status_message"]


def test_a_pull_arms_the_expiration_and_shows_it(gateway, push_image, make_layer):
    image = push_image("lib/armed:1", [make_layer(("data", os.urandom(100)))])

    record = gateway.wait(image.reference)

    ninety_days = 90 * 24 * 3600
    assert record["expiration"] == pytest.approx(record["last_pull"] + ninety_days, abs=5)


def test_what_nobody_uses_any_more_is_removed(site, push_image, make_layer, wait_for):
    image = push_image("lib/unused:1", [make_layer(("data", os.urandom(100)))])
    assert site.wait(image.reference)["status"] == "READY"

    answer = site.request("POST", f"/api/autoexpire/{SYSTEM}/")

    assert image.image_id in answer.json()["status"]
    wait_for(lambda: not list(site.image_dir.glob(f"{image.image_id}.*")))
    assert site.lookup(image.reference).status_code == 404
