# SPDX-License-Identifier: BSD-3-Clause
"""The node that the tests of the runtime launch on: `node`, for every folder below integration."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from shifter_runtime import loop
from tests.integration.runtime.node import ALICE, BOB, GROUP, PASSWD, Node, host_state, wait_until


@pytest.fixture(scope="session")
def installed_node(installation) -> Iterator[Node]:
    state = Path(loop.STATE_DIRECTORY)
    was_there = state.exists()
    node = Node(installation.prefix)
    (node.prefix / "etc/files").mkdir()
    (node.prefix / "etc/files/passwd").write_text(PASSWD)
    (node.prefix / "etc/files/group").write_text(GROUP)
    (node.prefix / "etc/files/nsswitch.conf").write_text("passwd: files\n")
    node.images.mkdir()
    node.shared.mkdir()
    yield node
    if not was_there:
        shutil.rmtree(state, ignore_errors=True)


@pytest.fixture
def node(installed_node) -> Iterator[Node]:
    """The node as every test finds it: default configuration, one image, no mount, no device."""
    node = installed_node
    node.configure()
    node.add_image()
    for user in (ALICE, BOB):
        home = node.shared / str(user)
        home.mkdir()
        os.chown(home, user, user)
        home.chmod(0o700)
    yield node
    # The kernel lets go of a loop device a moment after the last process that used it.
    wait_until(lambda: not host_state(node.prefix), seconds=20)
    shutil.rmtree(node.shared)
    node.shared.mkdir()
    shutil.rmtree(node.images)
    node.images.mkdir()
