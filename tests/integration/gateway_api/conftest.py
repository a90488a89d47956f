# SPDX-License-Identifier: BSD-3-Clause
"""A gateway in this process that believes a real munge, and a second munge with another key."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from shifter_common import munge
from shifter_imagegw import config as configuration
from shifter_imagegw.api.application import create_app
from shifter_imagegw.catalog.sqlite import SqliteCatalog
from shifter_imagegw.credentials import Sealer, new_key
from tests.integration.conftest import require_program, stop_process, wait_until

# A clock that is an hour ahead.
_AHEAD = """
#include <time.h>
time_t time(time_t *out)
{
	struct timespec now;
	clock_gettime(CLOCK_REALTIME, &now);
	if (out)
		*out = now.tv_sec + 3600;
	return now.tv_sec + 3600;
}
"""


@pytest.fixture(scope="session")
def own_munge(munged) -> Path:
    return munged


@pytest.fixture(scope="session")
def foreign_munge(run_munged) -> Iterator[Path]:
    with run_munged() as socket:
        yield socket


@pytest.fixture
def munge_ahead(own_munge, tmp_path) -> Iterator[Path]:
    """A munge with the key of the gateway's, on a host whose clock is an hour ahead."""
    source, library = tmp_path / "ahead.c", tmp_path / "ahead.so"
    source.write_text(_AHEAD)
    compiler = require_program("gcc")
    subprocess.run([compiler, "-shared", "-fPIC", "-o", library, source], check=True)
    key = tmp_path / "munge.key"
    shutil.copyfile(own_munge.with_name("munge.key"), key)
    key.chmod(0o600)
    # Beside the other: a socket's path is short, and its directories are open.
    socket = own_munge.with_name("ahead.socket")
    command = [
        require_program("munged"),
        "--foreground",
        f"--key-file={key}",
        f"--socket={socket}",
        f"--pid-file={tmp_path / 'munged.pid'}",
        f"--seed-file={tmp_path / 'munged.seed'}",
        f"--log-file={tmp_path / 'munged.log'}",
    ]
    process = subprocess.Popen(command, env={**os.environ, "LD_PRELOAD": str(library)})
    try:
        wait_until(socket.exists, what="munged")
        yield socket
    finally:
        stop_process(process)


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
        self._foreign = foreign
        self.catalog = SqliteCatalog(config.catalog_path)
        self.sealer = Sealer(new_key())
        self._client = create_app(config, self.catalog, self.sealer).test_client()

    def credential(self, payload: bytes = b"") -> str:
        return munge.encode(payload, socket=str(self.socket))

    def foreign_credential(self) -> str:
        return munge.encode(socket=str(self._foreign))

    def get(self, path: str, credential: str):
        return self._client.get(path, headers={"authentication": credential})

    def post(self, path: str, credential: str):
        return self._client.post(path, headers={"authentication": credential})


@pytest.fixture
def api(tmp_path, own_munge, foreign_munge):
    api = Api(tmp_path, own_munge, foreign_munge)
    yield api
    api.catalog.close()
