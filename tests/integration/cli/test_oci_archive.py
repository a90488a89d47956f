# SPDX-License-Identifier: BSD-3-Clause
"""Archives that `shifterimg export` makes, as other tools see them."""

from __future__ import annotations

import json
import os
import subprocess

import pytest

from shifter_cli.files import oci_archive, sqfs2tar
from shifter_cli.files.sqfs2tar import UnpackError
from shifter_cli.inspection import Inspection
from shifter_common.reference import ImageReference
from tests.integration.conftest import require_program

WIRE = {
    "ENV": ["PATH=/bin", "WORDS=a b"], "ENTRY": ["/bin/sh", "-c"], "CMD": ["true"],
    "WORKDIR": "/data", "LABELS": {"org.example.version": "2"}, "arch": "amd64", "os": "linux",
    "created": "2026-11-01T10:00:00Z", "author": "Eve", "user": "7:8",
    "history": [
        {"created": "2026-10-31T09:00:00Z", "created_by": "ADD files", "empty_layer": False},
        {"created": None, "created_by": "ENV WORDS", "empty_layer": True},
    ],
}  # fmt: skip


@pytest.fixture
def squashfs(tmp_path):
    tree = tmp_path / "tree"
    (tree / "data").mkdir(parents=True)
    (tree / "data/größe").write_bytes(os.urandom(300_000))
    (tree / "data/link").symlink_to("größe")
    (tree / "run.sh").write_text("#!/bin/sh\n")
    (tree / "run.sh").chmod(0o755)
    path = tmp_path / "image.squashfs"
    subprocess.run(
        [require_program("mksquashfs"), tree, path, "-all-root", "-quiet", "-no-progress"],
        check=True, capture_output=True,
    )  # fmt: skip
    return path


@pytest.fixture
def archive(tmp_path, squashfs):
    require_program("sqfs2tar")
    path = tmp_path / "image.tar"
    seen = Inspection.from_wire(ImageReference("docker", "team/tool:2"), WIRE)
    with path.open("wb") as out:
        oci_archive.write(sqfs2tar.pieces(str(squashfs)), seen, out, folder=str(tmp_path))
    return path


def skopeo(*arguments):
    result = subprocess.run(
        [require_program("skopeo"), *arguments], capture_output=True, text=True, check=False
    )
    assert result.returncode == 0, result.stderr
    return result.stdout


def test_other_tools_read_what_starts_and_of_what_it_was_made(archive):
    config = json.loads(skopeo("inspect", "--config", f"oci-archive:{archive}"))

    assert config["config"] == {
        "Env": ["PATH=/bin", "WORDS=a b"], "Entrypoint": ["/bin/sh", "-c"], "Cmd": ["true"],
        "WorkingDir": "/data", "User": "7:8", "Labels": {"org.example.version": "2"},
    }  # fmt: skip
    assert (config["author"], config["created"]) == ("Eve", "2026-11-01T10:00:00Z")
    assert [step["created_by"] for step in config["history"][:2]] == ["ADD files", "ENV WORDS"]


def test_archive_is_found_by_its_name_and_copied_with_every_file(archive, squashfs, tmp_path):
    layout = tmp_path / "layout"
    skopeo("copy", f"oci-archive:{archive}:team/tool:2", f"oci:{layout}:x")

    subprocess.run(
        [require_program("umoci"), "unpack", "--rootless", "--image", f"{layout}:x",
         tmp_path / "bundle"],
        check=True, capture_output=True,
    )  # fmt: skip
    root = tmp_path / "bundle/rootfs"
    assert (root / "data/größe").read_bytes() == (tmp_path / "tree/data/größe").read_bytes()
    assert os.readlink(root / "data/link") == "größe"
    assert os.access(root / "run.sh", os.X_OK)


def test_file_that_is_no_squashfs_is_said_to_be_unreadable(tmp_path):
    broken = tmp_path / "broken"
    broken.write_bytes(b"nothing")

    with pytest.raises(UnpackError, match="cannot read the image: sqfs2tar: "):
        list(sqfs2tar.pieces(str(broken)))


def test_missing_program_is_told_with_its_package(squashfs, monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))

    with pytest.raises(UnpackError, match="install the package squashfs-tools-ng"):
        list(sqfs2tar.pieces(str(squashfs)))
