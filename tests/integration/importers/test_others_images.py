# SPDX-License-Identifier: BSD-3-Clause
"""What one user has imported is no lever on what another imports, be it the same content."""

from __future__ import annotations

import json
import os

import pytest

from tests.integration.importers.conftest import ALICE, BOB, failure
from tests.integration.importers.layouts import Layout, docker_archive, saved

pytestmark = [pytest.mark.munge, pytest.mark.root]


@pytest.fixture
def gateway(account_gateway):
    return account_gateway


@pytest.fixture
def tree(home):
    """A tree of Alice's that all may read."""
    root = home() / "root"
    root.mkdir()
    (root / "data").write_bytes(os.urandom(100))
    return root


def found(gateway, shifterimg, tag, by):
    return shifterimg(gateway, "lookup", f"custom:{tag}", by=by).stdout.strip()


def test_who_imported_the_same_before_does_not_own_the_image(gateway, shifterimg, tree, home):
    shifterimg(gateway, "import", tree, "squatter:1", by=BOB)
    shifterimg(gateway, "import", tree, "owner:1", by=ALICE)
    alices = found(gateway, shifterimg, "owner:1", ALICE)
    other = home(BOB) / "other"
    other.mkdir()

    over = shifterimg(gateway, "import", other, "owner:1", by=BOB, check=False)
    narrowed = shifterimg(
        gateway, "import", "--user", str(BOB), tree, "squatter:1", by=BOB, check=False
    )
    gone = shifterimg(gateway, "expire", "custom:squatter:1", by=BOB)

    assert "an image of somebody else" in over.stderr
    assert (narrowed.returncode, gone.returncode) == (0, 0)
    assert found(gateway, shifterimg, "owner:1", ALICE) == alices
    assert (gateway.image_dir / f"{alices}.squashfs").is_file()
    assert "ACL" not in (gateway.image_dir / f"{alices}.meta").read_text()


def test_an_import_again_finds_the_image_that_it_made_beside_anothers(gateway, shifterimg, tree):
    shifterimg(gateway, "import", tree, "first:1", by=BOB)
    shifterimg(gateway, "import", tree, "mine:1", by=ALICE)
    image = gateway.image_dir / f"{found(gateway, shifterimg, 'mine:1', ALICE)}.squashfs"
    before = image.stat().st_ino

    shifterimg(gateway, "import", tree, "mine:2", by=ALICE)

    assert found(gateway, shifterimg, "mine:2", BOB) == image.stem
    assert image.stat().st_ino == before


def test_a_manifest_without_its_layers_opens_nobodys_private_image(ask, home, make_layer):
    layout = Layout(home() / "layout")
    layer = make_layer(("secret", os.urandom(20)))
    descriptor = layout.image(layer)
    layout.index(descriptor)
    alices = ask(layout.path, "oci", by=ALICE, allowed_uids=str(ALICE))
    assert alices["status"] == "READY"
    copied = Layout(home(BOB) / "copied")
    for name in ("index.json", *(f"blobs/sha256/{path.name}" for path in
                                 (layout.path / "blobs/sha256").iterdir()
                                 if path.read_bytes() != layer)):  # fmt: skip
        copied.write(name, (layout.path / name).read_bytes())

    assert "No such file" in failure(ask(copied.path, "oci", by=BOB))


def test_a_config_that_is_a_manifest_too_is_refused(ask, home):
    members = saved([bytes(1024)])
    (name,) = (name for name in members if name.endswith(".json") and name != "manifest.json")
    config = json.loads(members[name]) | {"schemaVersion": 2, "layers": [], "config": {}}
    file = docker_archive(home() / "a.tar", members | {name: json.dumps(config).encode()})

    assert "its digest would stand for two images" in failure(ask(file))
