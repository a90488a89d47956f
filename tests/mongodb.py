# SPDX-License-Identifier: BSD-3-Clause
"""A real MongoDB for tests: one server for all of them, a database for each, servers to kill."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import secrets
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pymongo
import pytest
from pymongo.errors import OperationFailure, PyMongoError

ROOT = Path(__file__).parents[1]
_START_SECONDS = 30
_NOT_INITIATED = 94  # the server's own number for a member of no replica set yet


@dataclasses.dataclass(frozen=True)
class MongoDatabase:
    """What a configuration says of a database: `MongoDBURI` and `MongoDB`."""

    uri: str
    name: str


class MongoServer:
    """A mongod on a loopback port: alone a replica set, or (`replica_set=False`) no member of one.

    It keeps port and data over `kill`, `stop` and `start`.
    """

    def __init__(self, directory: Path, *, replica_set: bool = True) -> None:
        self.directory = directory
        self.port = _free_port()
        self.replica_set = replica_set
        self.process: subprocess.Popen[bytes] | None = None

    @property
    def uri(self) -> str:
        """As a site writes it: the driver finds out by itself what kind of server that is."""
        return f"mongodb://127.0.0.1:{self.port}/"

    def start(self) -> None:
        """Start the server and wait until it takes writes."""
        data = self.directory / "data"
        data.mkdir(exist_ok=True)
        command = [
            find_mongod(), "--dbpath", data, "--bind_ip", "127.0.0.1", "--port", str(self.port),
            "--nounixsocket", "--oplogSize", "50", "--wiredTigerCacheSizeGB", "0.25",
            "--setParameter", "diagnosticDataCollectionEnabled=false",
            "--wiredTigerEngineConfigString", "log=(prealloc=false,file_max=8MB)",
            *(["--replSet", "t"] if self.replica_set else []),
        ]  # fmt: skip
        with (self.directory / "mongod.log").open("ab") as log:
            self.process = subprocess.Popen(command, stdout=log, stderr=log)
        try:
            self._wait_until_writable()
        except BaseException:
            self.kill()
            raise

    def kill(self) -> None:
        """End it as a power failure would."""
        assert self.process is not None
        self.process.kill()
        self.process.wait()

    def stop(self) -> None:
        """End it in good order."""
        assert self.process is not None
        if self.process.poll() is None:
            self.process.terminate()
        try:
            self.process.wait(20)
        except subprocess.TimeoutExpired:
            self.kill()

    def database(self) -> MongoDatabase:
        """A name that no other test has; the database is made by the first write."""
        return MongoDatabase(self.uri, f"shifter_{secrets.token_hex(6)}")

    def _wait_until_writable(self) -> None:
        assert self.process is not None
        deadline = time.monotonic() + _START_SECONDS
        with self.client(directConnection=True) as client:
            while not self._is_writable(client):
                if self.process.poll() is not None or time.monotonic() > deadline:
                    log = (self.directory / "mongod.log").read_text(errors="replace")
                    pytest.fail(f"mongod does not start:\n{log[-3000:]}", pytrace=False)
                time.sleep(0.02)

    def _is_writable(self, client: pymongo.MongoClient) -> bool:
        try:
            if self.replica_set:
                self._initiate(client)
            return bool(client.admin.command("hello")["isWritablePrimary"])
        except PyMongoError:
            return False

    def _initiate(self, client: pymongo.MongoClient) -> None:
        try:
            client.admin.command("replSetGetStatus")
        except OperationFailure as error:
            if error.code == _NOT_INITIATED:
                member = {"_id": 0, "host": f"127.0.0.1:{self.port}"}
                client.admin.command("replSetInitiate", {"_id": "t", "members": [member]})

    def client(self, **options: object) -> pymongo.MongoClient:
        """A client of the test's own, to be closed by it."""
        return pymongo.MongoClient(self.uri, serverSelectionTimeoutMS=500, **options)


def find_mongod() -> str:
    """The server's program, wherever this machine has it."""
    made = ROOT.glob(".venv-mongod/lib/python3*/site-packages/fiftyone/db/bin/mongod")
    for program in (os.environ.get("MONGOD"), shutil.which("mongod"), *map(str, made)):
        if program:
            return program
    return pytest.fail(
        "mongod is missing: say where it is in $MONGOD, or run ./check, which puts one into "
        ".venv-mongod",
        pytrace=False,
    )


@contextlib.contextmanager
def running_mongod(*, replica_set: bool = True) -> Iterator[MongoServer]:
    """A server of a test's own, which it may kill, stop and start again."""
    directory = Path(tempfile.mkdtemp(prefix="shifter-mongod-", dir=_fast_directory()))
    server = MongoServer(directory, replica_set=replica_set)
    try:
        server.start()
        yield server
    finally:
        if server.process is not None:
            server.kill()
        shutil.rmtree(directory)


def _fast_directory() -> str | None:
    """A place in memory, where every write that waits for the disk has it at once.

    A server that is killed loses there what it would lose on a disk: what it had not written yet.
    """
    memory = "/dev/shm"
    if os.access(memory, os.W_OK) and shutil.disk_usage(memory).free > 2**30:
        return memory
    return None


def _free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


@pytest.fixture(scope="session")
def mongod() -> Iterator[MongoServer]:
    """The server that all tests share: leave it running."""
    with running_mongod() as server:
        yield server


@pytest.fixture
def mongo_database(mongod: MongoServer) -> Iterator[MongoDatabase]:
    """A fresh database for one test: `.uri` and `.name`."""
    database = mongod.database()
    yield database
    with mongod.client() as client:
        client.drop_database(database.name)
