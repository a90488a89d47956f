# SPDX-License-Identifier: BSD-3-Clause
"""What umoci, which unpacks layers one after the other to disk, makes of them."""

from __future__ import annotations

import ast
import gzip
import hashlib
import json
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from ...unit.shifter_imagegw.flatten.layers import Tree

WALK = Path(__file__).with_name("walk_image.py")


class RefusedError(Exception):
    """umoci does not unpack such layers."""


def unpacked(folder: Path, tars: Sequence[bytes]) -> Tree:
    """Write an OCI layout by hand, let umoci unpack it, and walk what it made."""
    if shutil.which("umoci") is None:
        pytest.fail("umoci is missing: apt-get install umoci", pytrace=False)
    layout = folder / "layout"
    (layout / "blobs/sha256").mkdir(parents=True)

    def put(content: bytes, media_type: str) -> dict[str, object]:
        digest = hashlib.sha256(content).hexdigest()
        (layout / "blobs/sha256" / digest).write_bytes(content)
        return {"mediaType": media_type, "digest": f"sha256:{digest}", "size": len(content)}

    prefix = "application/vnd.oci.image"
    layers = [put(gzip.compress(blob), f"{prefix}.layer.v1.tar+gzip") for blob in tars]
    diff_ids = [f"sha256:{hashlib.sha256(blob).hexdigest()}" for blob in tars]
    config = {
        "architecture": "amd64",
        "os": "linux",
        "config": {},
        "rootfs": {"type": "layers", "diff_ids": diff_ids},
        "history": [{"created_by": "test"} for _ in tars],
    }
    manifest = {
        "schemaVersion": 2,
        "config": put(json.dumps(config).encode(), f"{prefix}.config.v1+json"),
        "layers": layers,
    }
    descriptor = put(json.dumps(manifest).encode(), f"{prefix}.manifest.v1+json")
    descriptor["annotations"] = {"org.opencontainers.image.ref.name": "image"}
    (layout / "index.json").write_text(json.dumps({"schemaVersion": 2, "manifests": [descriptor]}))
    (layout / "oci-layout").write_text('{"imageLayoutVersion": "1.0.0"}')
    ran = subprocess.run(
        ["umoci", "unpack", "--image", f"{layout}:image", folder / "bundle"],
        check=False, capture_output=True, text=True,
    )  # fmt: skip
    if ran.returncode:
        raise RefusedError(ran.stderr)
    walked = subprocess.run(
        [sys.executable, WALK, folder / "bundle/rootfs"],
        check=True, capture_output=True, text=True,
    )  # fmt: skip
    tree, _ = ast.literal_eval(walked.stdout)
    return tree


def without_modes(tree: Tree) -> Tree:
    """Names, contents, targets and links; umoci keeps modes that users could not read."""
    return {
        path: what[:1] if what[0] == "directory" else (*what[:2], what[-1])
        for path, what in tree.items()
    }
