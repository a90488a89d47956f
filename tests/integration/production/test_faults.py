# SPDX-License-Identifier: BSD-3-Clause
"""Whatever part is killed, at whatever stage of a pull: it ends once, and well."""

from __future__ import annotations

import dataclasses
import time

import pytest

from tests.integration.production.site import Site, held_pulls, kill_all
from tests.mongodb import MongoServer
from tests.redis_server import RedisServer

pytestmark = [pytest.mark.registry, pytest.mark.redis, pytest.mark.mongodb]


@dataclasses.dataclass
class Parts:
    """What can be killed."""

    site: Site
    redis: RedisServer
    mongo: MongoServer


@pytest.fixture
def parts(site: Site, redis_server: RedisServer, mongo_server: MongoServer) -> Parts:
    """All of them, running."""
    if "api" not in site.processes:
        site.start_api()
    if "worker" not in site.processes:
        site.start_worker("worker")
    return Parts(site, redis_server, mongo_server)


def test_pool_children_that_are_killed(parts, push_new):
    with held_pulls(parts.site, push_new) as images:
        kill_all(parts.site.children("worker"))

    for image in images.values():
        parts.site.assert_pulled_once(image)
        assert parts.site.starts(image) == 2


def test_a_worker_that_is_killed(parts, push_new):
    with held_pulls(parts.site, push_new) as images:
        parts.site.kill("worker")

    parts.site.start_worker("worker")
    for image in images.values():
        parts.site.assert_pulled_once(image)
        assert parts.site.starts(image) == 2


def test_a_worker_that_is_stopped_hands_its_work_back_in_time(parts, push_new):
    with held_pulls(parts.site, push_new) as images:
        seconds = parts.site.stop("worker")

    assert seconds < 12
    with parts.site.open_catalog() as catalog:
        assert catalog.workers() == []
        assert catalog.count_claimable(["alpha"], time.time()) == {"alpha": len(images)}
    parts.site.start_worker("worker")
    for image in images.values():
        parts.site.assert_pulled_once(image)


def test_an_api_that_is_killed(parts, push_new):
    with held_pulls(parts.site, push_new) as images:
        parts.site.kill("api")

    parts.site.start_api()
    for image in images.values():
        parts.site.assert_pulled_once(image)
        assert parts.site.starts(image) == 1


def test_a_redis_that_is_killed_and_one_that_forgets(parts, push_new):
    late, later = push_new("late"), push_new("later")
    with held_pulls(parts.site, push_new) as images:
        parts.redis.empty()
        parts.redis.kill()
        started = time.monotonic()
        parts.site.pull(late)
        parts.site.pull(later)
        assert time.monotonic() - started < 5

    parts.redis.start()
    for image in [*images.values(), late, later]:
        parts.site.assert_pulled_once(image)
        assert parts.site.starts(image) == 1


def test_a_mongodb_that_is_killed(parts, push_new):
    with held_pulls(parts.site, push_new) as images:
        parts.mongo.kill()

    # Now the pulls go on, and want to say so.
    time.sleep(3)
    parts.mongo.start()
    for image in images.values():
        parts.site.assert_pulled_once(image)
        assert parts.site.starts(image) == 1


def test_a_worker_stops_in_time_while_redis_is_away(parts, push_new):
    with held_pulls(parts.site, push_new) as images:
        parts.redis.kill()
        seconds = parts.site.stop("worker")

    assert seconds < 12
    parts.redis.start()
    parts.site.start_worker("worker")
    for image in images.values():
        parts.site.assert_pulled_once(image)
