# SPDX-License-Identifier: BSD-3-Clause
"""What is imported may be anything: each of these ends in a sentence, and in no image."""

from __future__ import annotations

import gzip
import hashlib
import json
import os
import re
import struct
import tarfile

import pytest

from tests.integration.importers.conftest import ALICE, BOB, failure
from tests.integration.importers.layouts import Layout, docker_archive, saved
from tests.integration.importers.trees import as_imported, content_of_tree, make_tree, pack

pytestmark = [pytest.mark.munge, pytest.mark.root]


@pytest.fixture
def gateway(account_gateway):
    return account_gateway


@pytest.fixture(autouse=True)
def nothing_is_left(gateway):
    yield
    assert not gateway.partial_files()
    assert not [path for path in (gateway.directory / "cache").iterdir() if "tmp" in path.name]


@pytest.fixture
def squashfs(home):
    root = make_tree(home() / "root", ALICE)
    (root / "text").write_text("".join(str(number) for number in range(300_000)))
    return pack(root, home() / "file.squashfs")


def overwrite(path, offset, data):
    with path.open("r+b") as file:
        file.seek(offset)
        file.write(data)
    return path


# Squashfs files


@pytest.mark.parametrize(
    ("offset", "data", "reason"),
    [
        (0, b"sqsh", "it does not start as one"),
        (28, struct.pack("<H", 3), "its version is 3.0"),
        (20, struct.pack("<H", 2), "its compressor 2"),
        (12, struct.pack("<I", 1 << 21), "its block size 2097152"),
        (40, struct.pack("<Q", 1 << 40), "and says to have 1099511627776"),
        (64, struct.pack("<Q", 1 << 40), "its table of inodes lies at byte 1099511627776"),
        (72, struct.pack("<Q", 50), "its table of directories lies at byte 50"),
        (26, struct.pack("<H", 0), "it has no table of owners"),
        (4, struct.pack("<I", 2**32 - 1), r"4294967295 inodes: .* \(MaxEntries\)"),
        (32, struct.pack("<Q", 1 << 60), "its root directory is not among its inodes"),
        (16, struct.pack("<I", 2**31), "its table of fragments does not fit in"),
    ],
)
def test_a_superblock_that_cannot_be_true_is_refused(ask, squashfs, offset, data, reason):
    overwrite(squashfs, offset, data)

    said = failure(ask(squashfs, "squashfs"))

    assert re.search(reason, said), said


def test_a_squashfs_file_that_was_cut_off_is_refused(ask, squashfs):
    os.truncate(squashfs, squashfs.stat().st_size - 5000)

    assert "says to have" in failure(ask(squashfs))


def test_a_squashfs_file_of_96_bytes_is_refused(ask, squashfs):
    os.truncate(squashfs, 50)

    assert "it ends after 50 bytes" in failure(ask(squashfs))


def tables_of(squashfs):
    """Where the file's data ends and its tables begin, and where these end."""
    start = squashfs.read_bytes()[:96]
    return struct.unpack("<Q", start[64:72])[0], struct.unpack("<Q", start[40:48])[0]


def test_damage_inside_a_squashfs_file_is_found(ask, squashfs):
    tables, _ = tables_of(squashfs)

    overwrite(squashfs, tables - 100_000, os.urandom(3000))

    assert "sqfs2tar failed" in failure(ask(squashfs))


def test_tables_full_of_noise_are_refused(ask, squashfs):
    tables, end = tables_of(squashfs)

    overwrite(squashfs, tables, os.urandom(end - tables))

    assert "sqfs2tar failed" in failure(ask(squashfs))


def test_files_that_start_alike_do_not_give_one_user_anothers_image(ask, gateway, home, tree_in):
    content = os.urandom(3 << 20)
    files = {}
    for user, end in ((ALICE, b"Alice"), (BOB, b"Bobby")):
        root = home(user) / "root"
        root.mkdir()
        (root / "data").write_bytes(content + end)
        os.utime(root / "data", (0, 0))
        os.utime(root, (0, 0))
        files[user] = pack(
            root, home(user) / "f.squashfs", "-noI", "-noD", "-noF", "-mkfs-time", "0", "-no-xattrs"
        )
    assert files[ALICE].read_bytes()[: 1 << 20] == files[BOB].read_bytes()[: 1 << 20]

    alices = ask(files[ALICE], by=ALICE, allowed_uids=str(ALICE))
    bobs = ask(files[BOB], by=BOB)

    assert (alices["status"], bobs["status"]) == ("READY", "READY")
    assert alices["id"] != bobs["id"]
    for record, end in ((alices, b"Alice"), (bobs, b"Bobby")):
        assert tree_in(gateway.image_dir / f"{record['id']}.squashfs")["data"][2].endswith(end)


def test_a_file_that_no_record_knows_is_not_taken_for_the_image(
    ask, gateway, squashfs, tree_in, home
):
    name = hashlib.sha256(squashfs.read_bytes()[: 1 << 20]).hexdigest()
    other = home() / "other"
    other.mkdir()
    image = pack(other, gateway.image_dir / f"{name}.squashfs")
    image.with_suffix(".meta").write_text("FORMAT: squashfs\n")

    record = ask(squashfs)

    assert record["id"] == name
    assert tree_in(image) == as_imported(content_of_tree(home() / "root"))


# Archives


def test_a_layer_that_is_a_link_out_of_the_archive_is_refused(ask, home):
    members = saved([b""])
    layer = next(name for name in members if name.endswith("layer.tar"))
    link = tarfile.TarInfo()
    link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
    file = docker_archive(home() / "a.tar", members | {layer: link})

    assert "does not hold the file" in failure(ask(file))


def test_a_layer_that_is_a_link_in_the_archive_is_followed(ask, home):
    members = saved([bytes(1024)])
    layer = next(name for name in members if name.endswith("layer.tar"))
    link = tarfile.TarInfo()
    link.type, link.linkname = tarfile.SYMTYPE, "../elsewhere/layer.tar"
    members = {"elsewhere/layer.tar": members[layer]} | members | {layer: link}

    assert ask(docker_archive(home() / "a.tar", members))["status"] == "READY"


def test_links_in_a_circle_are_refused(ask, home):
    members = saved([b""])
    layer = next(name for name in members if name.endswith("layer.tar"))
    link = tarfile.TarInfo()
    link.type, link.linkname = tarfile.SYMTYPE, "layer.tar"

    file = docker_archive(home() / "a.tar", members | {layer: link})

    assert "does not hold the file" in failure(ask(file))


@pytest.mark.parametrize("name", ["../../../etc/passwd", "/etc/passwd", "blobs/../../x", "\0"])
def test_a_config_outside_of_the_archive_is_refused(ask, home, name):
    manifest = [{"Config": name, "Layers": ["x"], "RepoTags": None}]
    file = docker_archive(home() / "a.tar", {"manifest.json": json.dumps(manifest).encode()})

    assert "does not hold the file" in failure(ask(file))


def test_a_member_that_leaves_the_archive_is_refused(ask, home):
    file = docker_archive(home() / "a.tar", {"../../evil": b"x", **saved([b""])})

    assert "leaves the image" in failure(ask(file))


def test_a_layer_of_other_content_is_refused(ask, home):
    members = saved([bytes(1024)], Env=["NAME=of no other test"])
    layer = next(name for name in members if name.endswith("layer.tar"))
    file = docker_archive(home() / "a.tar", members | {layer: bytes(2048)})

    assert "is not the sha256:" in failure(ask(file))


@pytest.mark.parametrize(
    ("manifest", "reason"),
    [
        (b"", "is no list of images"),
        (b"[]", "is no list of images"),
        (b"{}", "is no list of images"),
        (b"[1]", "does not name a config and layers"),
        (b'[{"Config": 1, "Layers": []}]', "does not name a config and layers"),
        (b'[{"Config": "c", "Layers": [1]}]', "does not name a config and layers"),
        (b"[" * 100_000, "is no list of images"),
        (b" " * (5 << 20), "bytes, more than 4194304"),
    ],
    ids=["empty", "no image", "object", "number", "config", "layer", "deep", "large"],
)
def test_a_broken_manifest_is_refused(ask, home, manifest, reason):
    file = docker_archive(home() / "a.tar", {"manifest.json": manifest})

    assert reason in failure(ask(file))


def test_an_image_without_a_name_for_its_layers_is_refused(ask, home):
    members = saved([b""])
    config = next(name for name in members if name.endswith(".json") and name[0] != "m")
    file = docker_archive(home() / "a.tar", members | {config: b'{"rootfs": {"diff_ids": []}}'})

    assert "has 1 layers, its config 0" in failure(ask(file))


def test_an_archive_of_files_is_no_image(ask, home):
    file = docker_archive(home() / "a.tar", {"etc/passwd": b"x"})

    assert "it is an archive, but of no image" in failure(ask(file))


def test_noise_is_no_archive(ask, home):
    (home() / "noise").write_bytes(os.urandom(10_000))

    assert "is no archive that can be imported" in failure(ask(home() / "noise"))


def test_an_archive_that_was_cut_off_is_refused(ask, home):
    file = docker_archive(home() / "a.tar", saved([bytes(100_000)]))
    os.truncate(file, 30_000)

    failure(ask(file))


def test_a_decompression_bomb_is_refused(ask, home):
    with gzip.open(home() / "a.tar.gz", "wb", compresslevel=9) as file:
        for _ in range(300):
            file.write(bytes(1 << 20))

    assert "(MaxImageSize)" in failure(ask(home() / "a.tar.gz"))


def test_several_images_without_a_fitting_name_are_listed(ask, home):
    one, two = saved([b""], ("app:1",)), saved([bytes(1024)], ("app:2",))
    both = json.loads(one.pop("manifest.json")) + json.loads(two.pop("manifest.json"))
    members = one | two | {"manifest.json": json.dumps(both).encode()}

    reason = failure(ask(docker_archive(home() / "a.tar", members)))

    assert "holds 2 images (app:1, app:2)" in reason


# Layouts


def test_a_blob_of_other_content_is_refused(ask, home, make_layer):
    layout = Layout(home() / "layout")
    layer = make_layer(("a", b"a"))
    layout.index(layout.image(layer))
    (blob,) = [path for path in layout.path.rglob("*") if path.is_file()
               and path.read_bytes() == layer]  # fmt: skip
    blob.write_bytes(make_layer(("a", b"evil")))

    assert "has the content of" in failure(ask(layout.path))


def test_a_blob_that_is_missing_is_refused(ask, home, make_layer):
    layout = Layout(home() / "layout")
    descriptor = layout.image(make_layer(("a", b"a")))
    layout.index(descriptor)
    (layout.path / "blobs" / descriptor["digest"].replace(":", "/")).unlink()

    assert "No such file" in failure(ask(layout.path))


def test_a_blob_that_is_a_link_to_a_foreign_file_is_refused(ask, home, make_layer, gateway):
    layout = Layout(home() / "layout")
    descriptor = layout.image(make_layer(("a", b"a")))
    layout.index(descriptor)
    blob = layout.path / "blobs" / descriptor["digest"].replace(":", "/")
    blob.unlink()
    blob.symlink_to(gateway.directory / "cache" / "catalog.sqlite")

    assert "the gateway has to see that you may read it" in failure(ask(layout.path))


def test_indexes_in_indexes_end(ask, home, make_layer):
    layout = Layout(home() / "layout")
    descriptor = layout.image(make_layer(("a", b"a")))
    kind = "application/vnd.oci.image.index.v1+json"
    for _ in range(5):
        index = {"schemaVersion": 2, "mediaType": kind, "manifests": [descriptor]}
        descriptor = layout.blob(index, kind)
    layout.index(descriptor)

    assert "its indexes are nested too deep" in failure(ask(layout.path))


@pytest.mark.parametrize(
    ("index", "reason"),
    [
        ({}, "is refused"),
        ({"schemaVersion": 2, "manifests": []}, "there is none at all"),
        ({"schemaVersion": 2, "manifests": 3}, "its manifests are no list"),
        ({"schemaVersion": 2, "manifests": [{"digest": "sha256:../../x"}]}, "no sha256"),
    ],
)  # fmt: skip
def test_a_broken_index_is_refused(ask, home, index, reason):
    layout = Layout(home() / "layout")
    layout.write("index.json", index)

    assert reason in failure(ask(layout.path))


def test_an_image_for_other_machines_is_not_taken(ask, home, make_layer):
    layout = Layout(home() / "layout")
    layout.index(layout.image(make_layer(("a", b"a")), architecture="s390x"))

    assert "there is linux/s390x" in failure(ask(layout.path))


# Bounds


def test_a_file_larger_than_an_image_may_be_is_refused_at_once(ask, home, squashfs):
    os.truncate(squashfs, 1 << 40)

    assert "(MaxImageSize)" in failure(ask(squashfs))


def test_a_tree_larger_than_an_image_may_be_is_refused_at_once(ask, home):
    root = home() / "root"
    root.mkdir()
    (root / "sparse").touch()
    os.truncate(root / "sparse", 1 << 40)

    assert "(MaxImageSize)" in failure(ask(root))


def test_a_squashfs_file_that_unpacks_to_more_is_refused(ask, home):
    root = home() / "root"
    root.mkdir()
    (root / "sparse").touch()
    os.truncate(root / "sparse", 300 << 20)
    file = pack(root, home() / "bomb.squashfs")

    assert "MaxImageSize" in failure(ask(file))


def test_a_tree_of_too_many_entries_is_refused(ask, home):
    root = home() / "root"
    root.mkdir()
    for number in range(5001):
        (root / str(number)).symlink_to("x")

    assert "(MaxEntries)" in failure(ask(root))


def test_a_tree_that_is_too_deep_is_refused(ask, home):
    root = home() / "root"
    root.mkdir()
    here = os.open(root, os.O_RDONLY)
    for _ in range(600):
        os.mkdir("d", dir_fd=here)
        there = os.open("d", os.O_RDONLY, dir_fd=here)
        os.close(here)
        here = there
    os.close(here)

    assert "more than 500 directories deep" in failure(ask(root))


# Trust


def test_the_file_of_a_trusted_importer_is_taken_as_it_is(trusting_gateway, ask_of, squashfs):
    record = ask_of(trusting_gateway, squashfs)

    image = trusting_gateway.image_dir / f"{record['id']}.squashfs"
    assert image.read_bytes() == squashfs.read_bytes()


def test_the_file_of_anybody_else_is_packed_anew(trusting_gateway, ask_of, squashfs, tree_in, home):
    record = ask_of(trusting_gateway, squashfs, by=BOB)

    image = trusting_gateway.image_dir / f"{record['id']}.squashfs"
    assert image.read_bytes() != squashfs.read_bytes()
    assert tree_in(image) == as_imported(content_of_tree(home() / "root"))


def test_even_a_trusted_file_must_be_whole(trusting_gateway, ask_of, squashfs):
    tables, _ = tables_of(squashfs)
    overwrite(squashfs, tables - 100_000, os.urandom(3000))

    failure(ask_of(trusting_gateway, squashfs))
