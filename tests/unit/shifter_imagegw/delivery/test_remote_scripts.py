# SPDX-License-Identifier: BSD-3-Clause
"""What can hardly be made to happen over a connection, in a shell of this machine."""

from __future__ import annotations

import os
import subprocess

import pytest

from shifter_imagegw.delivery import remote_scripts

ID, OTHER = "ab" * 32, "cd" * 32


@pytest.fixture
def unindex(tmp_path):
    """`unindex(before_mv)`: forget x:1; `before_mv` happens before the entry is put aside."""
    entry = tmp_path / "images/.tags/docker/x:1"
    entry.parent.mkdir(parents=True)
    entry.write_text(f"{ID}\n")
    shims = tmp_path / "bin"
    shims.mkdir()

    def unindex(before_mv):
        (shims / "mv").write_text(f'#!/bin/sh\n{before_mv}\nexec /bin/mv "$@"\n')
        (shims / "mv").chmod(0o755)
        script = "set -eu\n" + remote_scripts.ENTER + remote_scripts.UNINDEX
        arguments = [".tags/docker", ".tags/docker/x:1", ".tags/.hidden", ID]
        environment = {"PATH": f"{shims}:{os.environ['PATH']}"}
        command = ["sh", "-c", script, "sh", tmp_path / "images", *arguments]
        subprocess.run(command, check=True, env=environment)
        return entry

    return unindex


def test_a_name_is_forgotten(unindex):
    entry = unindex(":")

    assert os.listdir(entry.parent) == []
    assert os.listdir(entry.parents[1]) == ["docker"]


def test_a_name_that_moves_while_it_is_forgotten_stays(unindex):
    entry = unindex(f"echo {OTHER} >.tags/docker/x:1")

    assert entry.read_text() == f"{OTHER}\n"
    assert os.listdir(entry.parents[1]) == ["docker"]
