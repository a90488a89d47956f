# SPDX-License-Identifier: BSD-3-Clause
"""Several systems, workers, API servers and gateways on one catalog."""

from __future__ import annotations

import concurrent.futures
import subprocess
import time
from collections.abc import Callable

import pytest
import requests

from shifter_imagegw.credentials import new_key
from tests.integration.conftest import PushedImage, wait_until
from tests.integration.production.site import PROGRAMS, Site

pytestmark = [pytest.mark.registry, pytest.mark.redis, pytest.mark.mongodb]

CLIENTS = 200


@pytest.fixture(scope="module")
def running(make_site: Callable[..., Site]) -> Site:
    """Two workers of one system, one of both, and a plain gunicorn that forks after loading."""
    site = make_site()
    site.start(
        "api",
        [PROGRAMS / "gunicorn", "--preload", "--no-control-socket", "-w", "4", "--threads", "8",
         "-b", f"127.0.0.1:{site.port}", "shifter_imagegw.wsgi:application"],
    )  # fmt: skip
    site.start_worker("one", ["alpha"], children=2)
    site.start_worker("two", ["alpha"], children=2)
    site.start_worker("both", ["beta", "alpha"], children=2)
    site.wait_for_api()
    return site


def test_one_image_on_two_systems_is_pulled_to_each(running, push_new):
    image = push_new()

    for system in ("alpha", "beta"):
        running.pull(image, system)

    for system in ("alpha", "beta"):
        running.assert_pulled_once(image, system)


def test_two_hundred_clients_of_one_image_make_one_conversion(running, push_new):
    image = push_new(size=3_000_000)

    def pull(number: int) -> str:
        user = f"user{number}:{2000 + number}"
        return wait_until(
            lambda: (status := running.pull(image, user=user)["status"]) == "READY" and status,
            seconds=60,
        )

    with concurrent.futures.ThreadPoolExecutor(CLIENTS) as clients:
        ends = list(clients.map(pull, range(CLIENTS)))

    assert ends == ["READY"] * CLIENTS
    assert running.gates.lines("conversions").count(image.image_id) == 1
    assert running.gates.lines("renames").count(f"{image.image_id}.squashfs") == 1
    running.assert_pulled_once(image)


def test_pulls_are_shared_by_all_workers_of_a_system(running, push_new):
    images = [push_new() for _ in range(12)]

    for image in images:
        running.pull(image)

    for image in images:
        running.assert_pulled_once(image)
        assert running.starts(image) == 1


def test_two_tags_of_one_image_make_one_conversion(running, push_new, registry):
    image = push_new(size=2_000_000)
    repository = image.name.partition(":")[0]
    address = f"{registry.url}/v2/{repository}/manifests"
    kind = "application/vnd.oci.image.manifest.v1+json"
    manifest = requests.get(f"{address}/1", headers={"Accept": kind}, timeout=10).content
    requests.put(f"{address}/2", data=manifest, headers={"Content-Type": kind}, timeout=10)
    other = PushedImage(f"{repository}:2", image.digest, image.layer_digests)

    running.pull(image)
    running.pull(other)

    assert running.wait(image)["status"] == running.wait(other)["status"] == "READY"
    assert running.gates.lines("conversions").count(image.image_id) == 1


def test_an_expired_image_is_removed_by_a_worker(running, push_new):
    image = push_new()
    running.pull(image)
    running.assert_pulled_once(image)

    answer = running.request("POST", f"/api/expire/alpha/docker/{image.name}/")

    assert answer.status_code == 200, answer.text
    directory = running.image_dir("alpha")
    wait_until(lambda: not [*directory.glob(f"{image.image_id}.*")], what="the removal")


def test_a_redis_that_hangs_costs_little(running, push_new, redis_server):
    images = [push_new() for _ in range(4)]
    redis_server.pause()
    try:
        took = [seconds_of(running.pull, image) for image in images]
    finally:
        redis_server.go_on()

    assert max(took) < 1.5
    for image in images:
        running.assert_pulled_once(image)


def seconds_of(step: Callable[..., object], *arguments: object) -> float:
    started = time.monotonic()
    step(*arguments)
    return time.monotonic() - started


def test_no_log_holds_the_password_of_the_broker(running):
    assert "pull finished" in running.logs()
    assert "redis-secret" not in running.logs()


@pytest.mark.munge
def test_a_pull_with_logins_needs_a_key_that_api_and_workers_share(
    make_site, push_new, munged, tmp_path
):
    key_file = tmp_path / "key"
    key_file.touch(mode=0o600)
    key_file.write_text(new_key())
    image = push_new()
    with_key = make_site(munge_socket=munged, KeyFile=str(key_file))
    without = make_site(munge_socket=munged)
    for site in (with_key, without):
        site.start_api()
    with_key.start_worker("worker", children=1)
    login = b'{"authorized_locations": {"default": "alice:secret"}}'

    refused = without.ask_for(image, payload=login)
    with_key.pull(image, payload=login)

    assert refused.status_code == 500
    assert "set KeyFile in imagemanager.json" in refused.json()["error"]
    with_key.assert_pulled_once(image)
    assert "alice:secret" not in without.logs() + with_key.logs()


@pytest.mark.parametrize(
    ("settings", "arguments", "words"),
    [
        ({"Broker": None}, [], "Error: Broker is missing, and Celery workers need it"),
        (
            {},
            ["-Q", "gamma"],
            "Error: -Q gamma: no such system in Platforms, which has alpha, beta",
        ),
        ({}, ["-P", "threads"], "Error: pulls need Celery's prefork pool"),
        ({"KeyFile": "/none"}, [], "Error: KeyFile '/none' is not there"),
    ],
    ids=["no-broker", "unknown-system", "threads", "no-key"],
)
def test_a_worker_that_cannot_work_says_why(make_site, settings, arguments, words):
    site = make_site(**settings)

    answer = subprocess.run(
        [PROGRAMS / "celery", "-A", "shifter_imagegw.celery_app", "worker", *arguments],
        env=site.gates.environment() | {"GWCONFIG": str(site.config_path)},
        capture_output=True,
        text=True,
        timeout=30,
    )

    assert answer.returncode != 0
    assert words in answer.stderr
    assert "Traceback" not in answer.stderr
