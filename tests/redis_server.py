# SPDX-License-Identifier: BSD-3-Clause
"""A real Redis for tests, on a loopback port: to be stopped, emptied and killed."""

from __future__ import annotations

import contextlib
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis

_START_SECONDS = 10


class RedisServer:
    """A redis-server that keeps port, password and data over `kill`, `stop` and `start`."""

    def __init__(self, directory: Path, *, password: str = "") -> None:
        self.directory = directory
        self.password = password
        self.port = _free_port()
        self.process: subprocess.Popen[bytes] | None = None

    def url(self, database: int = 0) -> str:
        """What a site writes as `Broker`; one database for each, else they hear each other."""
        login = f":{self.password}@" if self.password else ""
        return f"redis://{login}127.0.0.1:{self.port}/{database}"

    def start(self) -> None:
        program = shutil.which("redis-server")
        if program is None:
            pytest.fail("redis-server is missing: apt-get install redis-server", pytrace=False)
        command = [
            program, "--port", str(self.port), "--bind", "127.0.0.1", "--dir", self.directory,
            "--save", "", "--appendonly", "yes", "--databases", "64",
            *(["--requirepass", self.password] if self.password else []),
        ]  # fmt: skip
        with (self.directory / "redis.log").open("ab") as log:
            self.process = subprocess.Popen(command, stdout=log, stderr=log)
        deadline = time.monotonic() + _START_SECONDS
        while not self._answers():
            if self.process.poll() is not None or time.monotonic() > deadline:
                text = (self.directory / "redis.log").read_text(errors="replace")
                pytest.fail(f"redis-server does not start:\n{text[-2000:]}", pytrace=False)
            time.sleep(0.02)

    def client(self) -> redis.Redis:
        """A client of the test's own, to be closed by it."""
        return redis.Redis(port=self.port, password=self.password or None, socket_timeout=5)

    def empty(self) -> None:
        """Lose everything that it holds."""
        with self.client() as client:
            client.flushall()

    def pause(self) -> None:
        """Have it take connections and answer nothing."""
        self._signal(signal.SIGSTOP)

    def go_on(self) -> None:
        self._signal(signal.SIGCONT)

    def kill(self) -> None:
        self._signal(signal.SIGKILL)
        assert self.process is not None
        self.process.wait()

    def stop(self) -> None:
        """End it in good order."""
        self._signal(signal.SIGTERM)
        assert self.process is not None
        self.process.wait()

    def _signal(self, number: signal.Signals) -> None:
        assert self.process is not None
        self.process.send_signal(number)

    def _answers(self) -> bool:
        try:
            with self.client() as client:
                return bool(client.ping())
        except redis.RedisError:
            return False


@contextlib.contextmanager
def running_redis(*, password: str = "") -> Iterator[RedisServer]:
    """A server of a test's own."""
    directory = Path(tempfile.mkdtemp(prefix="shifter-redis-"))
    server = RedisServer(directory, password=password)
    try:
        server.start()
        yield server
    finally:
        if server.process is not None:
            server.kill()
        shutil.rmtree(directory)


def _free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])
