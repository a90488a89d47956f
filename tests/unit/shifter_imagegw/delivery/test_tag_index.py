# SPDX-License-Identifier: BSD-3-Clause
from __future__ import annotations

import os
import stat

import pytest

from shifter_common.errors import ShifterError
from shifter_imagegw.delivery import IndexEntry, tag_index
from shifter_imagegw.delivery.local import LocalDelivery
from shifter_imagegw.errors import DeliveryError
from shifter_imagegw.records import NewPull

ID, OTHER = "ab" * 32, "cd" * 32


@pytest.fixture
def directory(tmp_path):
    path = tmp_path / "images"
    path.mkdir()
    return path


@pytest.fixture
def delivery(directory):
    return LocalDelivery("mycluster", directory)


def entry(tag, image_id=ID):
    return IndexEntry(image_type="docker", tag=tag, image_id=image_id)


def test_a_name_leads_to_its_image(delivery, directory):
    delivery.index("docker", "library/ubuntu:24.04", ID)
    delivery.index("docker", "library/ubuntu:24.04", ID)

    path = directory / ".tags/docker/library%2Fubuntu:24.04"
    assert path.read_text() == f"{ID}\n"
    assert delivery.indexed() == [entry("library/ubuntu:24.04")]


def test_nobody_but_the_gateways_account_can_read_a_name(delivery, directory):
    delivery.index("docker", "x:1", ID)

    path = directory / ".tags/docker/x:1"
    modes = [stat.S_IMODE(one.stat().st_mode) for one in (path, path.parent, path.parent.parent)]
    assert modes == [0o600, 0o700, 0o700]


def test_a_name_that_moved_leads_to_the_new_image(delivery):
    delivery.index("docker", "x:1", ID)

    delivery.index("docker", "x:1", OTHER)

    assert delivery.indexed() == [entry("x:1", OTHER)]


def test_a_name_is_never_half_written(delivery, directory, monkeypatch):
    delivery.index("docker", "x:1", ID)

    def full(_descriptor):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(DeliveryError, match="cannot write the tag index in .*No space left"):
        delivery.index("docker", "x:1", OTHER)

    assert delivery.indexed() == [entry("x:1")]
    assert os.listdir(directory / ".tags") == ["docker"]


def test_a_name_is_forgotten_unless_it_means_another_image(delivery):
    delivery.index("docker", "x:1", ID)
    delivery.index("docker", "y:1", OTHER)

    for tag in ("x:1", "y:1", "never:1"):
        delivery.unindex("docker", tag, ID)

    assert delivery.indexed() == [entry("y:1", OTHER)]


def test_a_name_that_moves_while_it_is_forgotten_stays(delivery, directory, monkeypatch):
    delivery.index("docker", "x:1", ID)
    rename = os.rename

    def moved_meanwhile(source, target):
        monkeypatch.setattr(os, "rename", rename)
        delivery.index("docker", "x:1", OTHER)
        rename(source, target)

    monkeypatch.setattr(os, "rename", moved_meanwhile)
    delivery.unindex("docker", "x:1", ID)

    assert delivery.indexed() == [entry("x:1", OTHER)]
    assert os.listdir(directory / ".tags") == ["docker"]


@pytest.mark.parametrize(("image_type", "tag"), [("docker", "bad name"), ("odd", "x:1")])
def test_a_name_that_cannot_be_there_is_forgotten_already(delivery, image_type, tag):
    delivery.unindex(image_type, tag, ID)


@pytest.mark.parametrize(
    ("image_type", "tag", "image_id"),
    [
        ("docker", "../../x", ID),
        ("docker", "x\n:1", ID),
        ("docker", "x" * 513, ID),
        ("id", ID, ID),
        ("../..", "x:1", ID),
        ("docker", "x:1", "../" + ID),
    ],
)
def test_what_no_image_is_called_is_not_written(delivery, directory, image_type, tag, image_id):
    with pytest.raises(ShifterError):
        delivery.index(image_type, tag, image_id)

    assert os.listdir(directory) == []


def test_what_is_no_entry_is_not_listed(delivery, directory):
    delivery.index("docker", "x:1", ID)
    place = directory / ".tags/docker"
    (place / "empty:1").touch()
    (place / "long:1").write_text(ID + "f")
    (place / "link:1").symlink_to(place / "x:1")
    os.mkfifo(place / "fifo:1")

    assert delivery.indexed() == [entry("x:1")]


@pytest.fixture
def publish(gateway):
    """Have an image READY in a catalog: `publish(tag, content)`."""

    def publish(tag, content):
        gateway.catalog.add_pull(pull_of(tag), gateway.clock.now)
        return gateway.work(content)

    return publish


def pull_of(tag, image_type="docker"):
    return NewPull(system="mycluster", image_type=image_type, pull_tag=tag, format="squashfs")


def test_an_index_is_made_of_the_catalog(gateway, delivery, publish):
    publish("right:1", "a")
    publish("wrong:1", "b")
    publish("lost:1", "c")
    delivery.index("docker", "right:1", "a" * 64)
    delivery.index("docker", "wrong:1", OTHER)
    delivery.index("docker", "stale:1", OTHER)

    rebuilt = tag_index.rebuild("mycluster", gateway.catalog, delivery)

    assert rebuilt == tag_index.Rebuilt(written=2, removed=1)
    assert {(one.tag, one.image_id) for one in delivery.indexed()} == {
        ("right:1", "a" * 64),
        ("wrong:1", "b" * 64),
        ("lost:1", "c" * 64),
    }


def test_a_name_that_a_pull_has_just_written_survives_a_rebuild(gateway, delivery):
    gateway.catalog.add_pull(pull_of("new:1"), gateway.clock.now)
    delivery.index("docker", "new:1", ID)

    tag_index.rebuild("mycluster", gateway.catalog, delivery)

    assert delivery.indexed() == [entry("new:1")]


def test_a_name_that_moved_since_the_catalog_was_listed_is_not_moved_back(
    gateway, delivery, publish, monkeypatch
):
    old = publish("x:1", "a")
    publish("x:1", "b")
    delivery.index("docker", "x:1", "b" * 64)
    monkeypatch.setattr(gateway.catalog, "list_ready", lambda _: [old])

    tag_index.rebuild("mycluster", gateway.catalog, delivery)

    assert delivery.indexed() == [entry("x:1", "b" * 64)]


def test_names_of_an_old_catalog_that_nobody_can_ask_for_are_left_out(gateway, delivery):
    for image_type, tag in (("docker", "bad name"), ("odd", "x:1"), ("docker", "good:1")):
        gateway.catalog.add_pull(pull_of(tag, image_type), gateway.clock.now)
        gateway.work(str(len(tag)))

    tag_index.rebuild("mycluster", gateway.catalog, delivery)

    assert [one.tag for one in delivery.indexed()] == ["good:1"]
