# SPDX-License-Identifier: BSD-3-Clause
"""What watches over the gateway needs no credential and shows no name of an image."""

from __future__ import annotations

import re
import socket

import pytest

from shifter_imagegw.errors import CatalogError
from shifter_imagegw.operation import telemetry
from shifter_imagegw.operation.readiness import Readiness
from tests.unit.shifter_imagegw.conftest import Gateway, make_config

IMAGE = "secret/project:1"


@pytest.fixture
def ready_gateway(gateway):
    gateway.config.systems["mycluster"].image_dir.mkdir(parents=True, exist_ok=True)
    yield gateway
    telemetry.stop()


def ask(gateway, path):
    return gateway.request("GET", path, by=None)


def sample(page, series):
    found = re.findall(rf"(?m)^{re.escape(series)} (\S+)$", page)
    return float(found[0]) if found else None


def test_a_process_that_answers_is_alive_whatever_is_away(ready_gateway, monkeypatch):
    monkeypatch.setattr(ready_gateway.catalog, "check", away)

    answer = ask(ready_gateway, "/healthz")

    assert (answer.status_code, answer.json) == (200, {"status": "alive"})
    assert answer.headers["Content-Type"] == "application/json"


def test_a_gateway_with_all_its_parts_is_ready(ready_gateway):
    answer = ask(ready_gateway, "/readyz")

    assert (answer.status_code, answer.json) == (200, {"status": "ready", "late": {}})


def test_a_catalog_that_is_away_is_named(ready_gateway, monkeypatch):
    monkeypatch.setattr(ready_gateway.catalog, "check", away)

    answer = ask(ready_gateway, "/readyz")

    assert answer.status_code == 503
    assert answer.json["missing"] == {"catalog": "mongodb://***@db is away"}


def test_an_image_directory_that_is_not_there_is_named(gateway):
    answer = ask(gateway, "/readyz")

    assert answer.status_code == 503
    assert answer.json["missing"].keys() == {"images.mycluster"}
    assert "is no directory" in answer.json["missing"]["images.mycluster"]


def test_a_broker_that_does_not_answer_is_named_without_its_password(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    gateway = Gateway(tmp_path, Broker=f"redis://:br0ker-secret@127.0.0.1:{port}/0")

    missing = Readiness(gateway.config, gateway.catalog).missing()

    assert "does not answer" in missing["broker"]
    assert "br0ker-secret" not in str(missing)


def test_a_munge_daemon_that_is_not_there_is_named(tmp_path):
    gateway = Gateway(tmp_path)
    platforms = {
        "mycluster": {"imageDir": str(tmp_path), "mungeSocketPath": str(tmp_path / "socket")}
    }
    config = make_config(tmp_path, Authentication="munge", Platforms=platforms)

    missing = Readiness(config, gateway.catalog).missing()

    assert missing.keys() == {"munge.mycluster"}


def test_jobs_that_wait_long_are_told_and_requests_go_on(ready_gateway):
    ready_gateway.clock.advance(-100)
    ready_gateway.request("POST", f"/api/pull/mycluster/docker/{IMAGE}/")

    answer = ask(ready_gateway, "/readyz")

    assert answer.status_code == 200
    assert re.match(
        "1 jobs wait for a worker, the oldest for 10[0-9] s", answer.json["late"]["mycluster"]
    )
    assert IMAGE not in answer.text


def test_anybody_who_asks_again_and_again_has_the_parts_looked_at_once(ready_gateway, monkeypatch):
    looks: list[int] = []
    monkeypatch.setattr(ready_gateway.catalog, "check", lambda: looks.append(1))

    for _ in range(20):
        ask(ready_gateway, "/readyz")

    assert len(looks) == 1


def test_the_metrics_cost_anybody_who_asks_again_and_again_one_look(ready_gateway, monkeypatch):
    looks: list[int] = []
    monkeypatch.setattr(ready_gateway.catalog, "count_states", lambda: looks.append(1) or {})

    for _ in range(20):
        ask(ready_gateway, "/metrics")

    assert len(looks) == 1


def test_metrics_count_images_queue_requests_and_lookups(ready_gateway):
    ready_gateway.request("POST", f"/api/pull/mycluster/docker/{IMAGE}/")
    ready_gateway.work(private=True)
    ready_gateway.request("POST", "/api/pull/mycluster/docker/other:1/")
    ready_gateway.request("GET", f"/api/lookup/mycluster/docker/{IMAGE}/")
    ready_gateway.request("GET", "/api/lookup/mycluster/docker/none:1/")
    ready_gateway.request("GET", f"/api/lookup/nosystem/docker/{IMAGE}/")

    answer = ask(ready_gateway, "/metrics")

    page = answer.text
    assert answer.headers["Content-Type"].startswith("text/plain; version=0.0.4")
    assert sample(page, "shifter_catalog_up") == 1
    assert sample(page, 'shifter_records{system="mycluster",state="ready"}') == 1
    assert sample(page, 'shifter_records{system="mycluster",state="pending"}') == 1
    assert sample(page, 'shifter_queue_depth{system="mycluster"}') == 1
    assert sample(page, 'shifter_lookups_total{system="mycluster",found="yes"}') == 1
    assert sample(page, 'shifter_lookups_total{system="mycluster",found="no"}') == 1
    assert sample(page, 'shifter_http_requests_total{route="pull",status="200"}') == 2
    assert "secret" not in page
    assert "nosystem" not in page
    assert "alice" not in page


def test_metrics_are_shown_while_the_catalog_is_away(ready_gateway, monkeypatch):
    monkeypatch.setattr(ready_gateway.catalog, "count_states", away)

    answer = ask(ready_gateway, "/metrics")

    assert answer.status_code == 200
    assert sample(answer.text, "shifter_catalog_up") == 0


def test_each_family_is_explained_once_and_its_samples_are_together(ready_gateway):
    for state in ("a", "b"):
        telemetry.observe("shifter_stage_seconds", {"system": "x", "stage": state}, 0.3)

    lines = ask(ready_gateway, "/metrics").text.splitlines()

    families = [line.split()[2] for line in lines if line.startswith("# TYPE")]
    assert len(families) == len(set(families))
    current = ""
    for line in lines:
        current = line.split()[2] if line.startswith("# TYPE") else current
        assert line.startswith(("#", current)), line
    bounds = re.findall(r'stage="a",le="([^"]+)"', "\n".join(lines))
    assert bounds == sorted(bounds, key=float)
    assert bounds[-1] == "+Inf"


def away(*_):
    raise CatalogError("mongodb://u:pass@db is away")
