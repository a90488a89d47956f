# SPDX-License-Identifier: BSD-3-Clause
"""imageReadAhead: what a node has read of an image that it mounts."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from tests.integration.runtime.node import wait_until

pytestmark = pytest.mark.root

MEBIBYTE = 1 << 20
LARGE = 64  # mebibytes of the image that no program touches; disks read ahead, too, a few


@pytest.fixture
def image(node) -> Path:
    def fill(tree: Path) -> None:
        (tree / "data/noise").write_bytes(os.urandom(LARGE * MEBIBYTE))

    image = node.add_image(fill)
    # Written past the page cache, so that the node knows nothing of it.
    copy = image.with_suffix(".copy")
    words = [f"if={image}", f"of={copy}", "bs=1M", "oflag=direct", "status=none"]
    subprocess.run(["dd", *words], check=True)
    copy.chmod(0o600)
    copy.rename(image)
    assert known(image) == 0
    return image


def known(image: Path) -> float:
    """How many mebibytes of a file are in the node's page cache."""
    command = ["fincore", "--bytes", "--noheadings", "--output", "RES", image]
    return int(subprocess.run(command, capture_output=True, check=True).stdout) / MEBIBYTE


def test_an_image_is_read_before_it_is_asked_for(node, image):
    node.configure(imageReadAhead="1G")

    assert node.run("true").returncode == 0

    wait_until(lambda: known(image) > LARGE)


def test_no_more_is_read_ahead_than_the_site_wants(node, image):
    node.configure(imageReadAhead="8M")

    assert node.run("true").returncode == 0

    wait_until(lambda: known(image) >= 8)
    assert known(image) < LARGE / 2


def test_nothing_is_read_ahead_by_default(node, image):

    assert node.run("true").returncode == 0

    assert known(image) < LARGE / 2


def test_nobody_waits_for_it_and_no_child_of_the_program_is_left(node, image):
    node.configure(imageReadAhead="1G")

    done = node.run("sh", "-c", "read child < /proc/$$/task/$$/children; echo [$child]")

    assert done.stdout == "[]\n"


def test_a_plan_says_it(node, image):
    node.configure(imageReadAhead="8M")

    assert "reading 8388608 bytes ahead" in node.run("--dry-run", "true").stdout
