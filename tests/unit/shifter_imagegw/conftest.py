# SPDX-License-Identifier: BSD-3-Clause
"""A gateway in one process: real rules, real SQLite, mock credentials, a clock that is set."""

from __future__ import annotations

import dataclasses
import json
import time
from datetime import timedelta
from pathlib import Path

import pytest

from shifter_imagegw.api.application import create_app
from shifter_imagegw.catalog.sqlite import SqliteCatalog
from shifter_imagegw.config import GatewayConfig
from shifter_imagegw.credentials import Sealer, new_key
from shifter_imagegw.records import ImageRecord, NewPull, PublishedImage
from shifter_imagegw.rules.service import Service

LEASE = timedelta(seconds=30)


class Clock:
    """Time that starts now, as a catalog sees it, and passes when told."""

    def __init__(self) -> None:
        self.now = time.time()

    def __call__(self) -> float:
        return self.now

    def advance(self, seconds: float) -> None:
        self.now += seconds


class Gateway:
    """What tests need of a gateway, and `work`, which does what a worker would."""

    def __init__(self, directory: Path, **changes: object) -> None:
        self.clock = Clock()
        self.config = make_config(directory, **changes)
        self.catalog = SqliteCatalog(self.config.catalog_path)
        self.sealer = Sealer(new_key())
        self.nudged: list[str] = []
        self.service = Service(
            self.config, self.catalog, self.sealer, clock=self.clock, nudge=self.nudged.append
        )
        self.system = self.config.systems["mycluster"]
        self.app = create_app(self.config, self.catalog, self.sealer)
        self.app.extensions["shifter_service"] = self.service
        self.client = self.app.test_client()

    def claim(self):
        return self.catalog.claim(["mycluster"], "worker", LEASE, self.clock.now)

    def work(self, content: str = "a", **changes: object) -> ImageRecord:
        """End the oldest pull well, with an image whose id is made of `content`."""
        claim = self.claim()
        assert claim is not None
        image = dataclasses.replace(make_image(content), **changes)
        return self.catalog.publish(claim, image, self.clock.now)

    def work_badly(self, reason: str) -> None:
        """End the oldest pull with FAILURE."""
        claim = self.claim()
        assert claim is not None
        self.catalog.fail(claim, reason)

    def request(self, method: str, path: str, *, by: str | None = "alice:1001:1001", **more):
        """Send a request as `name:uid:gid`, or as nobody."""
        headers = {"Content-type": "application/json"} if method == "POST" else {}
        if by is not None:
            name, uid, gid = by.split(":")
            headers["authentication"] = f"good:{name}:{name}::{uid}:{gid}"
        return self.client.open(path, method=method, headers=headers, **more)


def make_config(directory: Path, **changes: object) -> GatewayConfig:
    content = {
        "Authentication": "mock",
        "CacheDirectory": str(directory / "cache"),
        "DefaultImageFormat": "squashfs",
        "DefaultImageLocation": "reg",
        "ImageExpirationTimeout": "90:00:00:00",
        "Locations": {"reg": {"url": "http://127.0.0.1:1"}, "otherreg": {}},
        "Platforms": {
            "mycluster": {
                "accesstype": "local",
                "admins": ["root"],
                "local": {"imageDir": str(directory / "images")},
            }
        },
    }
    return GatewayConfig.from_mapping(json.loads(json.dumps(content | changes)))


def make_image(content: str = "a") -> PublishedImage:
    return PublishedImage(
        image_id=(content * 64)[:64],
        format="squashfs",
        architecture="amd64",
        os="linux",
        private=False,
        env=("PATH=/bin", "FOO=bar"),
        entry=("/bin/true",),
        command=("-x",),
        workdir="/etc",
        labels=None,
        size=4096,
        expiration=None,
    )


@pytest.fixture
def catalog(tmp_path):
    catalog = SqliteCatalog(tmp_path / "catalog.sqlite")
    yield catalog
    catalog.close()


@pytest.fixture
def pull(catalog):
    """A pull of docker:lib/foo:1 to cori that waits for a worker."""
    new = NewPull(
        system="cori", image_type="docker", pull_tag="lib/foo:1", format="squashfs", puller=7
    )
    return catalog.add_pull(new, now=1.0)


@pytest.fixture
def gateway(tmp_path):
    gateway = Gateway(tmp_path)
    yield gateway
    gateway.catalog.close()


@pytest.fixture
def gateway_with(tmp_path):
    """Make a gateway whose imagemanager.json says something else."""
    made = []

    def make(**changes: object) -> Gateway:
        made.append(Gateway(tmp_path, **changes))
        return made[-1]

    yield make
    for gateway in made:
        gateway.catalog.close()


@pytest.fixture
def image_with():
    """Make what a pull found out, with some fields set."""

    def make(**changes: object) -> PublishedImage:
        return dataclasses.replace(make_image(), **changes)

    return make
