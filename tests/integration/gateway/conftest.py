# SPDX-License-Identifier: BSD-3-Clause
from __future__ import annotations

import itertools
import os
import subprocess

import pytest

_numbers = itertools.count(1)


@pytest.fixture
def push_new(push_image, make_layer):
    """Push an image that no other test has: one layer of random bytes unless layers are given."""

    def push(*layers, size=1000, config=None):
        layers = layers or [make_layer(("data", os.urandom(size)))]
        return push_image(f"lib/new{next(_numbers)}:1", layers, config)

    return push


@pytest.fixture
def mounted(tmp_path):
    """`mounted(image_file, script)`: what a shell script says about the mounted image, `$1`."""
    place = tmp_path / "mounted"
    place.mkdir()

    def look(image_file, script):
        command = f'mount -t squashfs -o loop,ro "$0" "$1" && cd "$1" && {script}'
        answer = subprocess.run(
            ["unshare", "--mount", "sh", "-c", command, image_file, place],
            capture_output=True,
            text=True,
        )
        assert answer.returncode == 0, answer.stderr
        return answer.stdout

    return look
