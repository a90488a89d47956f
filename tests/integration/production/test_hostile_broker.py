# SPDX-License-Identifier: BSD-3-Clause
"""What somebody can do who writes to the broker: waste time, and nothing else."""

from __future__ import annotations

import base64
import contextlib
import json
import pickle
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from celery import Celery

from shifter_imagegw import config as configuration
from shifter_imagegw.workers.tasks import WORK
from tests.integration.conftest import wait_until
from tests.integration.production.gates import gate_of
from tests.integration.production.site import Site

pytestmark = [pytest.mark.registry, pytest.mark.redis, pytest.mark.mongodb]


@pytest.fixture(scope="module")
def running(make_site: Callable[..., Site]) -> Site:
    """A worker of one system; the other has none."""
    site = make_site()
    site.start_api()
    site.start_worker("alphas", ["alpha"], children=2)
    return site


class Enemy:
    """Who knows the URL of the broker."""

    def __init__(self, site: Site) -> None:
        broker = configuration.load(site.config_path).broker
        assert broker is not None
        self.app = Celery("enemy", broker=broker, set_as_current=False)

    def push(self, queue: str, raw: str) -> None:
        with self.app.pool.acquire(block=True) as connection:
            connection.default_channel.client.lpush(queue, raw)

    def send(
        self,
        queue: str,
        body: bytes,
        *,
        content_type: str = "application/json",
        encoding: str = "utf-8",
        **headers: Any,
    ) -> None:
        task = str(uuid.uuid4())
        message = {
            "body": base64.b64encode(body).decode(),
            "content-encoding": encoding,
            "content-type": content_type,
            "headers": {"lang": "py", "task": WORK, "id": task, "root_id": task} | headers,
            "properties": {
                "correlation_id": task,
                "delivery_mode": 2,
                "delivery_info": {"exchange": "", "routing_key": queue},
                "priority": 0,
                "body_encoding": "base64",
                "delivery_tag": task,
            },
        }
        self.push(queue, json.dumps(message))

    def ask(self, queue: str, *args: Any, embed: Any = None, **headers: Any) -> None:
        self.send(queue, json.dumps([args, {}, embed or {}]).encode(), **headers)

    def close(self) -> None:
        self.app.close()


@pytest.fixture
def enemy(running: Site):
    with contextlib.closing(Enemy(running)) as enemy:
        yield enemy


class Bomb:
    """Makes a file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> Any:
        return (Path.touch, (self.path,))


def test_a_pickle_is_not_opened(running, enemy, push_new, tmp_path):
    made = tmp_path / "made"
    data = pickle.dumps(([Bomb(made)], {}, {}))
    for content_type in ("application/x-python-serialize", "pickle", "application/json"):
        enemy.send("alpha", data, content_type=content_type, encoding="binary")

    works(running, push_new)

    assert not made.exists()


@pytest.mark.parametrize(
    "raw",
    ["", "no json", "[]", "{}", '"text"', "17", '{"body": 1, "properties": {}}', "[" * 100_000],
    ids=["empty", "text", "list", "object", "string", "number", "half", "deep"],
)
def test_a_worker_survives_what_is_no_message(running, enemy, push_new, raw):
    enemy.push("alpha", raw)

    works(running, push_new)


def test_a_worker_survives_messages_that_make_no_sense(running, enemy, push_new):
    enemy.ask("alpha", "alpha", task="os.system")
    enemy.ask("alpha", "alpha", task="celery.backend_cleanup")
    enemy.ask("alpha")
    enemy.ask("alpha", "alpha", "beta")
    enemy.ask("alpha", {"system": ["alpha"]})
    enemy.ask("alpha", ["alpha"])
    enemy.ask("alpha", None)
    enemy.ask("alpha", "../../etc")
    enemy.ask("alpha", "alpha", embed={"callbacks": [{"task": "x"}], "errbacks": 3, "chain": "x"})
    enemy.ask("alpha", "alpha", eta="never", expires={})
    enemy.ask("alpha", "alpha", retries="many", timelimit="x")
    enemy.send("alpha", b"null")
    enemy.send("alpha", b"\xff\xfe", encoding="nonsense")

    works(running, push_new)


def test_nobody_ends_a_pull_by_a_message(running, enemy, push_new):
    image = push_new()
    gate = gate_of("layer", image.name.partition(":")[0], image.image_id)
    running.gates.shut(gate)
    running.pull(image)
    wait_until(lambda: running.gates.is_reached(gate), what="the pull")

    enemy.app.control.shutdown()
    enemy.app.control.broadcast("pool_shrink", arguments={"n": 9})
    works(running, push_new)

    running.gates.open(gate)
    running.assert_pulled_once(image)
    assert running.starts(image) == 1
    assert running.processes["alphas"].poll() is None


def test_a_worker_does_no_job_of_a_system_that_it_does_not_serve(running, enemy, push_new):
    image = push_new()
    running.pull(image, "beta")
    for _ in range(5):
        enemy.ask("alpha", "beta")

    works(running, push_new)

    (job,) = running.queue("beta")
    assert (job["image"], job["status"]) == (image.name, "PENDING")
    assert running.starts(image) == 0


def works(site, push_new):
    image = push_new()
    site.pull(image)
    site.assert_pulled_once(image)
    assert site.processes["alphas"].poll() is None
