# SPDX-License-Identifier: BSD-3-Clause
"""The embedded gateway as a whole: how it starts, stops, and comes back after being killed."""

from __future__ import annotations

import concurrent.futures
import contextlib
import json
import os
import random
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
import requests

from shifter_common import munge

pytestmark = [pytest.mark.registry, pytest.mark.munge]

SYSTEM = "cluster"
ROUNDS = 10


@pytest.fixture
def silent_registry():
    """The URL of a server that takes connections and never answers."""
    with socket.create_server(("127.0.0.1", 0), backlog=64) as listener:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"


def run_gateway(*arguments):
    program = Path(sys.executable).with_name("shifter-gateway")
    return subprocess.run([program, *arguments], capture_output=True, text=True, timeout=30)


def has_ended(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except (FileNotFoundError, ProcessLookupError):
        return True


def test_a_gateway_that_is_stopped_ends_well_and_leaves_no_process(make_gateway):
    gateway = make_gateway()
    processes = gateway.processes()

    status = gateway.stop()

    assert status == 0
    assert len(processes) > 3
    assert all(has_ended(pid) for pid in processes)


def test_a_killed_gateway_leaves_no_process(make_gateway, wait_for):
    gateway = make_gateway()
    processes = gateway.processes()

    gateway.kill()

    wait_for(lambda: all(has_ended(pid) for pid in processes), what="the end of all processes")


def test_a_pull_that_is_interrupted_by_a_stop_is_done_by_the_next_start(
    make_gateway, push_new, silent_registry, registry, wait_for
):
    image = push_new()
    location = {"remotetype": "dockerv2", "url": silent_registry}
    gateway = make_gateway(Locations={"default": location})
    gateway.pull(image.reference)
    wait_for(lambda: gateway.pull(image.reference)["status"] == "PULLING", what="the worker")

    status = gateway.stop()
    location["url"] = registry.url
    gateway.start()

    assert status == 0
    assert gateway.wait(image.reference)["status"] == "READY"


def test_logins_of_an_interrupted_pull_are_not_kept_over_a_restart(
    make_gateway, push_new, silent_registry, wait_for
):
    image = push_new()
    gateway = make_gateway(
        Locations={"default": {"remotetype": "dockerv2", "url": silent_registry}}
    )
    login = b'{"authorized_locations": {"default": "alice:secret"}}'
    gateway.pull(image.reference, payload=login)

    gateway.kill()
    gateway.start()

    record = gateway.wait(image.reference, payload=login)
    assert record["status"] == "FAILURE"
    assert "lost when the gateway restarted: pull again" in record["status_message"]


def test_a_second_gateway_on_one_catalog_is_refused(make_gateway):
    gateway = make_gateway()

    answer = run_gateway("serve", "--config", gateway.config_path, "--bind", "127.0.0.1:0")

    assert answer.returncode == 1
    assert answer.stderr.splitlines()[-1].startswith(
        "shifter-gateway: another gateway is running on catalog"
    )


def test_an_address_in_use_is_one_sentence(make_gateway):
    gateway = make_gateway(start=False)
    gateway.config_path.write_text(json.dumps(gateway.config))
    with socket.create_server(("127.0.0.1", 0)) as listener:
        bind = f"127.0.0.1:{listener.getsockname()[1]}"

        answer = run_gateway("serve", "--config", gateway.config_path, "--bind", bind)

    assert answer.returncode == 1
    assert answer.stderr == f"shifter-gateway: cannot listen at '{bind}': Address already in use\n"


def test_a_configuration_that_is_wrong_is_one_sentence(tmp_path):
    path = tmp_path / "imagemanager.json"
    path.write_text('{"Platforms": 3}')

    answers = [
        run_gateway("serve", "--config", path),
        run_gateway("config", "check", "--config", path),
    ]

    for answer in answers:
        assert answer.returncode == 1
        assert answer.stderr.startswith(f"shifter-gateway: {path}: ")
        assert len(answer.stderr.splitlines()) == 1


def test_what_a_gateway_keeps_is_readable_by_its_own_account_only(make_gateway, push_new):
    gateway = make_gateway()
    gateway.wait(push_new().reference)

    for directory in (gateway.directory / "cache", gateway.image_dir):
        for path in directory.rglob("*"):
            assert path.stat().st_mode & 0o077 == 0, path


def test_the_configuration_of_a_gateway_can_be_checked(make_gateway):
    gateway = make_gateway()

    answer = run_gateway("config", "check", "--config", gateway.config_path)

    assert answer.returncode == 0
    first, *_, last = answer.stdout.splitlines()
    assert first == f"catalog: SQLite file {gateway.directory}/cache/catalog.sqlite"
    assert last == f"{gateway.config_path}: good (systems: 1, locations: 1)"


def test_whatever_process_is_killed_every_pull_ends_and_nothing_is_half_published(
    make_gateway, push_new, wait_for
):
    seed = int.from_bytes(os.urandom(4))
    print(f"seed {seed}")
    chance = random.Random(seed)
    images = [push_new(size=chance.randrange(100_000, 8_000_000)) for _ in range(2 * ROUNDS)]
    gateway = make_gateway(arguments=["--workers", "2"])
    accepted = []

    for number in range(ROUNDS):
        for image in images[2 * number : 2 * number + 2]:
            with contextlib.suppress(requests.RequestException):
                gateway.pull(image.reference)
                accepted.append(image)
        time.sleep(chance.uniform(0, 0.4))
        victim = chance.choice([pid for pid in gateway.processes() if is_ours(pid)])
        with contextlib.suppress(ProcessLookupError):
            os.kill(victim, signal.SIGKILL)
        if victim == gateway.process.pid:
            gateway.process.wait()
            gateway.start()

    assert accepted
    with concurrent.futures.ThreadPoolExecutor(4) as clients:
        ends = list(clients.map(lambda image: end_of_pull(gateway, image), accepted))
    for image, record in zip(accepted, ends, strict=True):
        assert record["status"] == "READY" or "the worker died" in record["status_message"], record
        if record["status"] == "READY":
            assert_whole(gateway, image)
    published = {path.stem for path in gateway.image_dir.glob("*.meta")}
    assert published == {path.stem for path in gateway.image_dir.glob("*.squashfs")}
    wait_for(lambda: not gateway.partial_files(), what="the removal of partial files")
    processes = gateway.processes()
    assert gateway.stop() == 0
    assert all(has_ended(pid) for pid in processes)


def is_ours(pid):
    """Not a converter: its death is a failed conversion, and is told as that."""
    with contextlib.suppress(FileNotFoundError, ProcessLookupError):
        return Path(f"/proc/{pid}/comm").read_text().strip() != "tar2sqfs"
    return False


def end_of_pull(gateway, image):
    """How the pull ended that was accepted, without ever asking for another one."""
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        with contextlib.suppress(requests.RequestException):
            answer = gateway.lookup(image.reference)
            if answer.status_code == 200:
                return answer.json()
            queue = gateway.request("GET", f"/api/queue/{SYSTEM}/").json()["list"]
            mine = [pull for pull in queue if pull["image"] == image.name]
            if mine and mine[0]["status"] == "FAILURE":
                return mine[0]
        time.sleep(0.1)
    return pytest.fail(f"the pull of {image.name} never ended:\n{gateway.log[-3000:]}")


def assert_whole(gateway, image):
    file = gateway.image_dir / f"{image.image_id}.squashfs"
    checked = subprocess.run(["unsquashfs", "-lln", file], capture_output=True, text=True)
    assert checked.returncode == 0, checked.stderr
    assert "squashfs-root/data" in checked.stdout


@pytest.mark.parametrize(
    "part",
    [
        b"",
        b"GET /api/health/ HTTP/1.1\r\nHost: ",
        b"POST /api/pull/cluster/docker/app:1/ HTTP/1.1\r\nHost: x\r\n"
        b"authentication: CREDENTIAL\r\nContent-Length: 2\r\n\r\n{",
    ],
    ids=["nothing", "header", "body"],
)
def test_clients_that_fall_silent_in_the_middle_keep_nobody_waiting(make_gateway, part):
    gateway = make_gateway()
    host, _, port = gateway.url.removeprefix("http://").partition(":")
    with contextlib.ExitStack() as silent:
        for _ in range(100):
            client = silent.enter_context(socket.create_connection((host, int(port))))
            credential = munge.encode(socket=str(gateway.munge_socket)) if part else ""
            client.sendall(part.replace(b"CREDENTIAL", credential.encode()))

        assert requests.get(f"{gateway.url}/api/health/", timeout=4).status_code == 200


def test_a_body_in_broken_chunks_is_a_bad_request(make_gateway):
    gateway = make_gateway()
    credential = munge.encode(socket=str(gateway.munge_socket))
    host, _, port = gateway.url.removeprefix("http://").partition(":")
    with socket.create_connection((host, int(port)), timeout=10) as client:
        client.sendall(
            b"POST /api/pull/cluster/docker/app:1/ HTTP/1.1\r\nHost: x\r\n"
            b"authentication: " + credential.encode() + b"\r\n"
            b"Transfer-Encoding: chunked\r\n\r\nzz\r\n{}\r\n0\r\n\r\n"
        )
        answer = client.recv(65536)

    assert answer.startswith(b"HTTP/1.1 400")
    assert "Traceback" not in gateway.log
