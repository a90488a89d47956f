# SPDX-License-Identifier: BSD-3-Clause
"""A gateway in this process that believes a real munge, and a second munge with another key."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from shifter_common import munge
from shifter_imagegw import config as configuration
from shifter_imagegw.app import create_app
from shifter_imagegw.catalog.sqlite import SqliteCatalog
from shifter_imagegw.credentials import Sealer, new_key


@pytest.fixture(scope="session")
def own_munge(munged) -> Path:
    return munged


@pytest.fixture(scope="session")
def foreign_munge(run_munged) -> Iterator[Path]:
    with run_munged() as socket:
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
