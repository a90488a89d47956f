# SPDX-License-Identifier: BSD-3-Clause
"""What tests of jobs share: an image with a shell in it, and nodes as they were before."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.integration.conftest import PushedImage

if TYPE_CHECKING:
    from tests.cluster.cluster import Cluster


@pytest.fixture(autouse=True)
def nothing_is_left(cluster: Cluster) -> Iterator[None]:
    """After each test no node is drained, and none has a mount, a container or a note left."""
    yield
    cluster.cancel_all()
    try:
        cluster.wait_idle()
        left = {node: [*cluster.mounts(node), *cluster.node(node).kept()] for node in cluster.nodes}
        assert not any(left.values()), left
    except BaseException:
        _repair(cluster)
        raise


def _repair(cluster: Cluster) -> None:
    """Give the next test good nodes."""
    for node in cluster.nodes:
        cluster.reboot(node)
    names = ",".join(cluster.nodes)
    cluster.run("ctl", "scontrol", "update", f"nodename={names}", "state=resume", user="root")


@pytest.fixture(scope="session")
def bash_files() -> dict[str, bytes]:
    """This machine's bash with its libraries, and a `python` that bash plays."""
    listed = subprocess.run(["ldd", "/bin/bash"], check=True, capture_output=True, text=True)
    paths = ["/bin/bash", *re.findall(r"(/\S+) \(", listed.stdout)]
    files = {path.lstrip("/"): Path(path).read_bytes() for path in paths}
    return files | {"bin/python": b'#!/bin/bash\nexec bash "$@"\n'}


@pytest.fixture(scope="session")
def tool(cluster: Cluster, bash_files: dict[str, bytes]) -> PushedImage:
    """An image that everybody may read: `lib/tool:1`, with bash, an entry point and variables."""
    config = {"Env": ["PATH=/bin", "TOOL=hammer"], "Entrypoint": ["/bin/echo", "entered"]}
    image = cluster.push_image("lib/tool:1", files=bash_files, config=config)
    cluster.pull(image.reference)
    return image


@pytest.fixture
def directory(cluster: Cluster) -> Iterator[Callable[..., Path]]:
    """`directory("data", user="alice")`: a new directory of a user's on the shared filesystem."""
    made = []

    def make(name: str, user: str = "alice") -> Path:
        path = cluster.shared / "scratch" / name
        cluster.output("ctl", "mkdir", path, user=user)
        made.append((path, user))
        return path

    yield make
    for path, user in made:
        cluster.output("ctl", "rm", "-rf", path, user=user)
