# SPDX-License-Identifier: BSD-3-Clause
"""From a registry, through a gateway, to a user's program, whatever format the site chose."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from tests.integration.runtime.node import ALICE

pytestmark = [pytest.mark.root, pytest.mark.registry, pytest.mark.munge]

SCRIPT = b"""#!/bin/sh
id -u
cat /data/word
"""


def layers(make_layer):
    busybox = Path("/bin/busybox").read_bytes()
    below = make_layer(
        ("bin", None),
        ("bin/busybox", busybox),
        ("bin/sh", "-> busybox"),
        ("bin/id", "= bin/busybox"),
        ("bin/cat", "-> busybox"),
        ("data/word", b"below\n"),
        ("data/gone", b"gone\n"),
    )
    above = make_layer(
        ("data/word", b"above\n"), ("data/.wh.gone", b""), ("run.sh", SCRIPT), ("etc", None)
    )
    return [below, above]


@pytest.mark.parametrize("format", ["squashfs", "ext4", "VFS", "vfs"])
def test_a_pulled_image_runs_as_an_unprivileged_user(
    node, make_gateway, push_image, make_layer, format
):
    pushed = push_image(f"formats/{format.lower()}:1", layers(make_layer), {"Env": ["PATH=/bin"]})
    gateway = make_gateway(DefaultImageFormat=format)

    record = gateway.wait(pushed.reference)

    assert record["status"] == "READY", record["status_message"]
    spelled = "VFS" if format == "vfs" else format
    image = gateway.image_dir / f"{record['id']}.{spelled}"
    kind, mode = ("directory", 0o700) if spelled == "VFS" else ("file", 0o600)
    assert stat.S_IMODE(image.lstat().st_mode) == mode
    assert image.is_dir() == (kind == "directory")
    assert gateway.partial_files() == []

    node.configure(imagePath=gateway.image_dir)
    done = node.run("/run.sh", image=f"id:{record['id']}")

    assert (done.stdout, done.stderr) == (f"{ALICE}\nabove\n", "")
    assert "gone" not in node.run("ls", "/data", image=f"id:{record['id']}").stdout.split()


@pytest.mark.parametrize("format", ["squashfs", "ext4", "VFS"])
def test_an_image_that_the_examiner_refuses_is_never_ready(
    make_gateway, push_image, make_layer, tmp_path, format
):
    pushed = push_image(f"examined/{format.lower()}:1", layers(make_layer))
    examiner = tmp_path / "examiner"
    examiner.write_text('#!/bin/sh\necho "found $(cat $1/data/word)"; exit 1\n')
    examiner.chmod(0o755)
    gateway = make_gateway(DefaultImageFormat=format, examiner=str(examiner))

    record = gateway.wait(pushed.reference)

    assert record["status"] == "FAILURE"
    assert record["status_message"].endswith(
        "the site's examiner refused this image (exit status 1): found above"
    )
    assert [name for name in os.listdir(gateway.image_dir) if pushed.image_id in name] == []
    assert os.listdir(gateway.directory / "expand") == []
