# SPDX-License-Identifier: BSD-3-Clause
"""What users import is what they get, whether or not the gateway may become them."""

from __future__ import annotations

import gzip
import json
import subprocess

import pytest

from tests.integration.conftest import require_program
from tests.integration.importers.conftest import ACCOUNT, ALICE, BOB, failure
from tests.integration.importers.layouts import ELSEWHERE, INDEX, Layout, docker_archive, saved
from tests.integration.importers.trees import as_imported, content_of_tree, make_tree, pack

pytestmark = [pytest.mark.munge, pytest.mark.root]

REF_NAME = "org.opencontainers.image.ref.name"


@pytest.fixture
def gateway(account_gateway):
    return account_gateway


def skopeo(*arguments):
    command = [require_program("skopeo"), "--insecure-policy", *arguments]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)


def test_a_directory_becomes_an_image_with_the_same_tree(any_gateway, home, imported, tree_in):
    root = make_tree(home() / "root", ALICE)

    image = imported(any_gateway, root, "tree:1")

    assert tree_in(image) == as_imported(content_of_tree(root))


def test_a_squashfs_file_becomes_an_image_with_the_same_tree(any_gateway, home, imported, tree_in):
    root = make_tree(home() / "root", ALICE)
    file = pack(root, home() / "file.squashfs", "-comp", "gzip")

    image = imported(any_gateway, file, "file:1")

    assert tree_in(image) == as_imported(content_of_tree(root))
    assert image.read_bytes() != file.read_bytes()


@pytest.fixture
def layers(make_layer):
    """Two layers of an image, the upper hiding a file of the lower."""
    lower = make_layer(("etc", None), ("etc/name", b"lower"), ("etc/gone", b""), ("a", b"a"))
    return [lower, make_layer(("etc/name", b"upper"), ("etc/.wh.gone", b""), ("b", "=etc/name"))]


FILES = {".", "etc", "etc/name", "a", "b"}


@pytest.mark.parametrize("kind", ["oci", "oci-archive", "docker-archive", "gzip"])
def test_what_skopeo_writes_becomes_an_image(kind, any_gateway, home, imported, tree_in, layers):
    layout = Layout(home() / "layout")
    descriptor = layout.image(*layers, Env=["A=1"], Entrypoint=["/bin/e"], WorkingDir="/etc")
    layout.index(descriptor | {"annotations": {REF_NAME: "app:2"}})
    source = layout.path
    if kind != "oci":
        archive_kind = kind if kind != "gzip" else "docker-archive"
        source = home() / "app.tar"
        skopeo("copy", f"oci:{layout.path}:app:2", f"{archive_kind}:{source}:app:2")
    if kind == "gzip":
        subprocess.run(["gzip", "--fast", source], check=True)
        source = source.with_suffix(".tar.gz")

    image = imported(any_gateway, source, f"{kind}:2")

    tree = tree_in(image)
    assert set(tree) == FILES
    assert tree["b"][2] == b"upper"
    metadata = image.with_suffix(".meta").read_text().splitlines()
    assert {"ENTRY: ['/bin/e']", "WORKDIR: /etc", "ENV: A=1", f"USER: {ALICE}"} <= set(metadata)


def test_an_image_has_the_id_of_its_manifest_as_from_a_registry(gateway, home, imported, layers):
    layout = Layout(home() / "layout")
    descriptor = layout.image(*layers)

    image = imported(gateway, layout.index(descriptor).path, "same:1")

    assert f"sha256:{image.stem}" == descriptor["digest"]


def test_a_saved_image_has_dockers_image_id(gateway, home, imported, layers):
    members = saved([gzip.decompress(layer) for layer in layers])
    file = docker_archive(home() / "app.tar", members)

    image = imported(gateway, file, "saved:1")

    assert f"{image.stem}.json" in members


def test_the_image_for_the_systems_platform_is_taken(gateway, home, imported, make_layer):
    layout = Layout(home() / "layout")
    other = layout.image(make_layer(("f", b"other")), architecture=ELSEWHERE)
    own = layout.image(make_layer(("f", b"own")))
    nested = layout.blob({"schemaVersion": 2, "mediaType": INDEX, "manifests": [other, own]}, INDEX)

    image = imported(gateway, layout.index(nested).path, "platform:1")

    assert f"sha256:{image.stem}" == own["digest"]


def test_of_several_saved_images_the_one_of_that_name_is_taken(gateway, home, imported):
    one, two = saved([b""], ("app:1",)), saved([bytes(1024)], ("app:2", "app:latest"))
    both = json.loads(one.pop("manifest.json")) + json.loads(two.pop("manifest.json"))
    file = docker_archive(
        home() / "apps.tar", one | two | {"manifest.json": json.dumps(both).encode()}
    )

    image = imported(gateway, file, "app:2")

    assert f"{image.stem}.json" in two


def test_metadata_of_a_file_says_who_imported_it_and_for_whom(gateway, home, imported):
    file = pack(make_tree(home() / "root", ALICE), home() / "f.squashfs")

    image = imported(gateway, file, "acl:1", "--user", str(BOB), "--group", "7")

    assert image.with_suffix(".meta").read_text().splitlines() == [
        "FORMAT: squashfs", f"USERACL: {BOB},{ALICE}", "GROUPACL: 7", f"USER: {ALICE}",
    ]  # fmt: skip


def test_metadata_without_lists_is_that_of_the_original(gateway, home, imported):
    root = home() / "root"
    root.mkdir()
    root.chmod(0o755)

    image = imported(gateway, root, "plain:1")

    assert image.with_suffix(".meta").read_text() == f"FORMAT: squashfs\nUSER: {ALICE}\n"


def test_an_import_is_indexed_and_listed_for_its_importer(gateway, home, imported, shifterimg):
    root = home() / "root"
    root.mkdir()
    (root / "f").write_text("listed")
    imported(gateway, root, "listed:1", "--user", str(ALICE))

    mine = shifterimg(gateway, "images", "--mine", "--long").stdout
    others = shifterimg(gateway, "images", by=BOB).stdout

    assert "listed:1" in mine
    assert "listed:1" not in others


def test_the_same_tree_is_not_converted_twice(gateway, home, imported):
    root = make_tree(home() / "root", ALICE)
    first = imported(gateway, root, "once:1")
    before = first.stat()

    second = imported(gateway, root, "once:2")

    assert (second, second.stat().st_ino) == (first, before.st_ino)


def test_an_image_may_be_a_directory_as_the_site_wants_it(run_gateway, home, shifterimg):
    root = make_tree(home() / "root", ALICE)
    with run_gateway(account=ACCOUNT, DefaultImageFormat="VFS") as gateway:
        shifterimg(gateway, "import", root, "vfs:1")
        (image,) = gateway.image_dir.glob("*.VFS")

        found = content_of_tree(image)
        # Users get in by way of the runtime alone.
        assert found.pop(".") == ("directory", 0o700)
        assert found.items() < as_imported(content_of_tree(root)).items()


def test_a_sif_file_is_refused_with_what_to_do(gateway, ask_of, home):
    (home() / "a.sif").write_bytes(b"#!/usr/bin/env run-singularity\n" + bytes(1000))

    assert "apptainer sif dump" in failure(ask_of(gateway, home() / "a.sif"))
