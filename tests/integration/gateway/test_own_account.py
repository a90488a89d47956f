# SPDX-License-Identifier: BSD-3-Clause
"""What root types goes on as the gateway's account: nothing in its directories becomes root's."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

pytestmark = pytest.mark.root

ACCOUNT = 61234  # which has no name here
PROGRAM = Path(sys.executable).with_name("shifter-gateway")
COMMANDS = (["status"], ["queue"], ["orphans"], ["index", "rebuild"], ["cache"], ["metrics"])


@pytest.fixture
def site():
    """The directory of a gateway that was never started; all in it is its account's."""
    directory = Path(tempfile.mkdtemp(prefix="shifter-account-"))
    config = {
        "Authentication": "mock",
        "CacheDirectory": str(directory / "state/cache"),
        "DefaultImageFormat": "squashfs",
        "DefaultImageLocation": "docker.io",
        "Locations": {"docker.io": {}},
        "Platforms": {"cluster": {"imageDir": str(directory / "images")}},
    }
    (directory / "imagemanager.json").write_text(json.dumps(config))
    for path in (directory / "state", directory / "images"):
        path.mkdir()
    for path in (directory, *directory.iterdir()):
        os.chown(path, ACCOUNT, ACCOUNT)
    (directory / "imagemanager.json").chmod(0o600)
    yield directory
    shutil.rmtree(directory)


@pytest.mark.parametrize("command", COMMANDS, ids="_".join)
def test_a_command_of_root_leaves_nothing_of_root(site, command):
    done = subprocess.run(
        [PROGRAM, *command, "--config", site / "imagemanager.json"],
        capture_output=True,
        text=True,
        timeout=60,
    )

    assert done.returncode == 0, done.stderr
    owners = {path: path.stat().st_uid for path in site.rglob("*")}
    assert set(owners.values()) == {ACCOUNT}, owners
