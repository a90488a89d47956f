# SPDX-License-Identifier: BSD-3-Clause
"""A gateway in this process that believes a real munge, and a second munge with another key."""

from __future__ import annotations

import contextlib
import json
import secrets
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from shifter_common import munge
from shifter_imagegw import config as configuration
from shifter_imagegw.app import create_app
from shifter_imagegw.catalog.sqlite import SqliteCatalog
from shifter_imagegw.credentials import Sealer, new_key


@contextlib.contextmanager
def munge_daemon(key: bytes) -> Iterator[Path]:
    """Run munged with a key; gives its socket."""
    program = shutil.which("munged")
    if program is None:
        pytest.fail("munged is missing: apt-get install munge", pytrace=False)
    # Not below pytest's directories: they are closed to others, which munged refuses.
    directory = Path(tempfile.mkdtemp(prefix="shifter-munge-"))
    directory.chmod(0o755)
    (directory / "key").touch(mode=0o600)
    (directory / "key").write_bytes(key)
    process = subprocess.Popen(
        [
            program,
            "--foreground",
            f"--key-file={directory / 'key'}",
            f"--socket={directory / 'socket'}",
            f"--pid-file={directory / 'pid'}",
            f"--seed-file={directory / 'seed'}",
        ],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        deadline = time.monotonic() + 10
        while not (directory / "socket").exists():
            assert process.poll() is None, "munged has ended"
            assert time.monotonic() < deadline, "munged makes no socket"
            time.sleep(0.01)
        yield directory / "socket"
    finally:
        process.terminate()
        process.wait()
        shutil.rmtree(directory)


@pytest.fixture(scope="session")
def own_munge() -> Iterator[Path]:
    with munge_daemon(secrets.token_bytes(1024)) as socket:
        yield socket


@pytest.fixture(scope="session")
def foreign_munge() -> Iterator[Path]:
    with munge_daemon(secrets.token_bytes(1024)) as socket:
        yield socket


class Api:
    """The gateway's API, asked with credentials of the user who runs the tests."""

    def __init__(self, directory: Path, socket: Path, foreign: Path) -> None:
        path = directory / "imagemanager.json"
        path.write_text(
            json.dumps(
                {
                    "CacheDirectory": str(directory / "cache"),
                    "DefaultImageFormat": "squashfs",
                    "DefaultImageLocation": "reg",
                    "Locations": {"reg": {}},
                    "Platforms": {
                        "mycluster": {"imageDir": "/i", "mungeSocketPath": str(socket)},
                        "theirs": {"imageDir": "/j", "mungeSocketPath": str(foreign)},
                        "down": {"imageDir": "/k", "mungeSocketPath": str(directory / "none")},
                    },
                }
            )
        )
        config = configuration.load(path)
        self.socket = socket
        self.catalog = SqliteCatalog(config.catalog_path)
        self.sealer = Sealer(new_key())
        self._client = create_app(config, self.catalog, self.sealer).test_client()

    def credential(self, payload: bytes = b"") -> str:
        return munge.encode(payload, socket=str(self.socket))

    def get(self, path: str, credential: str):
        return self._client.get(path, headers={"authentication": credential})

    def post(self, path: str, credential: str):
        return self._client.post(path, headers={"authentication": credential})


@pytest.fixture
def api(tmp_path, own_munge, foreign_munge):
    api = Api(tmp_path, own_munge, foreign_munge)
    yield api
    api.catalog.close()
