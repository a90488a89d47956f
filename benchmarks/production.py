# SPDX-License-Identifier: BSD-3-Clause
"""A gateway as a large site has it: gunicorn, Celery workers, Redis and MongoDB."""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pymongo
from pymongo.errors import OperationFailure, PyMongoError

from benchmarks import programs
from benchmarks.installation import CHECKOUT, SYSTEM, Installation, Served, configured
from benchmarks.programs import BenchmarkError

DATABASE = "benchmark"
NOT_INITIATED = 94  # the server's own number for a member of no replica set yet


@contextlib.contextmanager
def gateway(
    installation: Installation,
    directory: Path,
    *,
    registry_url: str,
    munge_socket: Path,
    images: Path,
    fill: Callable[[str], None] | None = None,
    workers: int = 1,
) -> Iterator[Served]:
    """Serve with nothing cached, its files below `directory`; the pid is that of Celery.

    `fill` gets the URI of MongoDB before anything else does. Without workers nothing is pulled.
    """
    directory.mkdir(parents=True)
    with mongod(directory) as uri, redis(directory) as broker:
        if fill is not None:
            fill(uri)
        config = configured(
            directory, registry_url, munge_socket, images,
            {"MongoDBURI": uri, "MongoDB": DATABASE, "Broker": broker},
        )  # fmt: skip
        with _api(installation, directory, config) as (url, api_pid):
            if not workers:
                yield Served(url, api_pid, (directory / "api.log",))
                return
            with _celery(installation, directory, config, workers) as pid:
                yield Served(url, pid, (directory / "api.log", directory / "celery.log"))


@contextlib.contextmanager
def mongod(directory: Path) -> Iterator[str]:
    """A MongoDB that is alone a replica set; gives its URI."""
    data, port = directory / "mongodb", programs.free_port()
    data.mkdir()
    command: list[str | Path] = [
        *(find_mongod(), "--dbpath", data, "--bind_ip", "127.0.0.1", "--port", str(port)),
        *("--nounixsocket", "--replSet", "benchmark", "--oplogSize", "50"),
        *("--wiredTigerCacheSizeGB", "0.25"),
    ]
    uri = f"mongodb://127.0.0.1:{port}/"
    with (
        pymongo.MongoClient[dict[str, object]](
            uri, directConnection=True, serverSelectionTimeoutMS=200
        ) as client,
        programs.running(
            command, directory / "mongod.log", ready=lambda: _is_primary(client, port)
        ),
    ):
        yield uri


def find_mongod() -> str:
    made = CHECKOUT.glob(".venv-mongod/lib/python3*/site-packages/fiftyone/db/bin/mongod")
    for program in (os.environ.get("MONGOD"), shutil.which("mongod"), *map(str, made)):
        if program:
            return program
    raise BenchmarkError(
        "not installed here: mongod; say where it is in $MONGOD, or run ./check, which gets one"
    )


@contextlib.contextmanager
def redis(directory: Path) -> Iterator[str]:
    """A Redis with an append-only file; gives its URL."""
    if absent := programs.missing("redis-server"):
        raise BenchmarkError(f"{absent}; Celery needs it")
    port = programs.free_port()
    command: list[str | Path] = [
        *("redis-server", "--port", str(port), "--bind", "127.0.0.1"),
        *("--dir", directory, "--save", "", "--appendonly", "yes"),
    ]
    with programs.running(command, directory / "redis.log", ready=lambda: programs.listens(port)):
        yield f"redis://127.0.0.1:{port}/0"


@contextlib.contextmanager
def _api(installation: Installation, directory: Path, config: Path) -> Iterator[tuple[str, int]]:
    url = directory / "url"
    with programs.running(
        [
            *(installation.gateway, "api", "--config", config),
            *("--bind", "127.0.0.1:0", "--processes", "2", "--ready-file", url),
        ],
        directory / "api.log",
        ready=lambda: url.exists() and url.read_text().endswith("\n"),
    ) as pid:
        yield url.read_text().strip(), pid


@contextlib.contextmanager
def _celery(
    installation: Installation, directory: Path, config: Path, workers: int
) -> Iterator[int]:
    log = directory / "celery.log"
    with programs.running(
        [
            *(installation.prefix / "venv/bin/celery", "-A", "shifter_imagegw.celery_app"),
            *("worker", "-Q", SYSTEM, "-c", str(workers), "--without-mingle", "--without-gossip"),
        ],
        log,
        ready=lambda: log.exists() and "ready." in log.read_text(errors="replace"),
        environment=os.environ | {"GWCONFIG": str(config)},
        directory=directory,
    ) as pid:
        yield pid


def _is_primary(client: pymongo.MongoClient[dict[str, object]], port: int) -> bool:
    try:
        try:
            client.admin.command("replSetGetStatus")
        except OperationFailure as error:
            if error.code == NOT_INITIATED:
                member = {"_id": 0, "host": f"127.0.0.1:{port}"}
                client.admin.command("replSetInitiate", {"_id": "benchmark", "members": [member]})
        return bool(client.admin.command("hello")["isWritablePrimary"])
    except PyMongoError:
        return False
