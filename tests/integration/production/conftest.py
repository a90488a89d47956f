# SPDX-License-Identifier: BSD-3-Clause
from __future__ import annotations

import contextlib
import itertools
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.integration.conftest import PushedImage, Registry, layer, require_program
from tests.integration.production.gates import Gates, gated_registry
from tests.integration.production.site import Site
from tests.mongodb import MongoServer, running_mongod
from tests.redis_server import RedisServer, running_redis

_numbers = itertools.count(1)
_databases = itertools.count()


@pytest.fixture(scope="session")
def redis_server() -> Iterator[RedisServer]:
    """A Redis that these tests stop and start as they like."""
    with running_redis(password="redis-secret") as server:
        yield server


@pytest.fixture(scope="session")
def mongo_server() -> Iterator[MongoServer]:
    """A MongoDB that these tests kill and start as they like."""
    with running_mongod() as server:
        yield server


@pytest.fixture(scope="module")
def make_site(
    registry: Registry,
    redis_server: RedisServer,
    mongo_server: MongoServer,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Callable[..., Site]]:
    """`make_site(munge_socket=None, **settings)`: a gateway of which nothing is started yet."""
    require_program("tar2sqfs")
    with contextlib.ExitStack() as stack:

        def make(*, munge_socket: Path | None = None, **settings: Any) -> Site:
            directory = tmp_path_factory.mktemp("site")
            gates = Gates(directory / "gates")
            url = stack.enter_context(gated_registry(registry.host, gates))
            database = mongo_server.database()
            standard = {
                "Broker": redis_server.url(next(_databases)),
                "MongoDBURI": database.uri,
                "MongoDB": database.name,
                "Locations": {"default": {"remotetype": "dockerv2", "url": url}},
            }
            site = Site(directory, gates, standard | settings, munge_socket)
            stack.callback(site.stop_all)
            return site

        yield make


@pytest.fixture(scope="module")
def site(make_site: Callable[..., Site]) -> Site:
    """A gateway that the tests of a module share."""
    return make_site()


@pytest.fixture(scope="session")
def push_new(registry: Registry) -> Callable[..., PushedImage]:
    """Push an image that no other test has; its repository has `word` in its name."""

    def push(word: str = "new", *, size: int = 1000) -> PushedImage:
        blob = layer(("data", os.urandom(size)))
        return registry.push(f"lib/{word}{next(_numbers)}:1", [blob])

    return push
