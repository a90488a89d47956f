# SPDX-License-Identifier: BSD-3-Clause
"""Lists that are changed, jobs that are ended and repeated, on a gateway with real workers."""

from __future__ import annotations

import contextlib
import json
import os
import tarfile

import pytest

from tests.integration.conftest import SYSTEM, gateways, sha256

pytestmark = [pytest.mark.munge, pytest.mark.registry]

FOLLOWED = ("READY", "FAILURE")


@pytest.fixture(scope="module")
def slow_examiner(tmp_path_factory):
    """A site's examiner that takes its time as long as `slow` is there; and where that is."""
    directory = tmp_path_factory.mktemp("examiner")
    directory.chmod(0o755)
    slow = directory / "slow"
    program = directory / "examiner"
    program.write_text(f"#!/bin/sh\nwhile [ -e {slow} ]; do sleep 0.1; done\n")
    program.chmod(0o755)
    return program, slow


@pytest.fixture(scope="module")
def site(registry, munged, tmp_path_factory, slow_examiner):
    with gateways(registry, munged, tmp_path_factory) as make:
        yield make(
            examiner=str(slow_examiner[0]), ImportUsers=["root"], arguments=["--workers", "1"]
        )


@pytest.fixture
def slow(slow_examiner):
    """Have jobs take long while the test runs, or until it removes this."""
    slow_examiner[1].touch()
    yield slow_examiner[1]
    slow_examiner[1].unlink(missing_ok=True)


@pytest.fixture
def image(push_image, make_layer):
    return push_image(f"lib/jobs{os.urandom(4).hex()}:1", [make_layer(("a", os.urandom(100)))])


def path_of(verb, reference):
    image_type, _, tag = reference.partition(":")
    return f"/api/{verb}/{SYSTEM}/{image_type}/{tag}/"


def change(site, wait_for, reference, **body):
    seen = set()

    def ended():
        answer = site.request("POST", path_of("acl", reference), json=body)
        assert answer.status_code == 200, answer.text
        seen.add(answer.json()["status"])
        return answer.json() if answer.json()["status"] in FOLLOWED else None

    record = wait_for(ended)
    assert seen <= {"INIT", "PENDING", "TRANSFER", "READY", "FAILURE"}
    return record


def metadata(site, record):
    return (site.image_dir / f"{record['id']}.meta").read_text()


def job_of(site, image):
    rows = site.request("GET", f"/api/queue/{SYSTEM}/").json()["list"]
    return next((row for row in rows if row["image"] == image.name), None)


def test_lists_are_changed_in_record_and_metadata_and_the_image_file_stays(site, wait_for, image):
    before = site.wait(image.reference)
    file = site.image_dir / f"{before['id']}.squashfs"
    identity = file.stat().st_ino

    record = change(site, wait_for, image.reference, allowed_uids="1234,77", allowed_gids=[5678])

    assert record["status"] == "READY", record
    assert (set(record["userACL"]), record["groupACL"]) == ({1234, 77, os.getuid()}, [5678])
    users = ",".join(map(str, record["userACL"]))
    assert f"USERACL: {users}\nGROUPACL: 5678\n" in metadata(site, record)
    assert site.lookup(image.reference).json()["userACL"] == record["userACL"]

    alone = change(site, wait_for, image.reference)
    assert (alone["userACL"], alone["groupACL"]) == ([os.getuid()], [])
    opened = change(site, wait_for, image.reference, public=True)
    assert (opened["userACL"], opened["groupACL"]) == ([], [])
    assert "ACL" not in metadata(site, record)
    assert file.stat().st_ino == identity
    assert site.partial_files() == []
    assert job_of(site, image) is None


def test_lists_of_an_import_are_changed_without_its_file(site, wait_for, tmp_path):
    archive = tmp_path / "tree"
    archive.mkdir()
    (archive / "data").write_bytes(os.urandom(100))
    body = {"filepath": str(archive), "format": "directory"}

    def imported():
        record = site.request("POST", path_of("doimport", "custom:lists:1"), json=body).json()
        return record if record["status"] in FOLLOWED else None

    assert wait_for(imported)["status"] == "READY"
    (archive / "data").unlink()

    record = change(site, wait_for, "custom:lists:1", allowed_uids=[77])

    assert record["status"] == "READY", record
    assert set(record["userACL"]) == {77, os.getuid()}
    assert "USERACL: 77," in metadata(site, record)


def test_a_change_that_cannot_be_made_says_why(site, wait_for, image):
    record = site.wait(image.reference)
    (site.image_dir / f"{record['id']}.meta").unlink()

    failed = change(site, wait_for, image.reference, allowed_uids=[77])

    assert failed["status"] == "FAILURE"
    assert "cannot read" in failed["status_message"]
    assert site.lookup(image.reference).json()["userACL"] == []


def test_a_running_pull_is_cancelled_and_leaves_nothing(site, wait_for, image, slow):
    site.pull(image.reference)
    wait_for(lambda: job_of(site, image)["status"] == "EXAMINATION", what="the examination")
    row = job_of(site, image)
    assert (row["kind"], row["itype"], row["is_mine"], row["attempts"]) == (
        "pull",
        "docker",
        True,
        1,
    )
    assert row["puller_name"] == "root"

    answer = site.request("POST", path_of("cancel", image.reference))

    assert answer.status_code == 200, answer.text
    assert (answer.json()["status"], answer.json()["status_message"]) == (
        "FAILURE", "cancelled by root",
    )  # fmt: skip
    told = site.pull(image.reference)  # as a client that waits
    assert (told["status"], told["status_message"]) == ("FAILURE", "cancelled by root")
    # The worker stops though the examiner does not, and has the next job.
    wait_for(lambda: site.partial_files() == [], what="the partial file to go")
    assert not list(site.image_dir.glob(f"{image.image_id}.*"))
    slow.unlink()
    assert site.wait(image.reference)["status"] == "READY"


def test_a_stuck_pull_is_given_to_the_next_worker(site, wait_for, image, slow):
    site.pull(image.reference)
    wait_for(lambda: job_of(site, image)["status"] == "EXAMINATION", what="the examination")

    answer = site.request("POST", path_of("requeue", image.reference))

    assert answer.status_code == 200, answer.text
    slow.unlink()
    assert site.wait(image.reference)["status"] == "READY"


def test_a_failed_pull_is_repeated(site, wait_for, push_image, make_layer):
    name = f"lib/late{os.urandom(4).hex()}:1"
    assert site.wait(f"docker:{name}")["status"] == "FAILURE"
    image = push_image(name, [make_layer(("a", os.urandom(100)))])

    answer = site.request("POST", path_of("requeue", image.reference))

    assert answer.json()["status"] == "PENDING", answer.text
    wait_for(lambda: site.lookup(image.reference).status_code == 200, what="the image")


def test_each_layer_of_an_inspected_image_is_known(site, push_image, make_layer):
    image = push_image(
        f"lib/layers{os.urandom(4).hex()}:1",
        [make_layer((name, os.urandom(100))) for name in ("a", "b")],
        {"Cmd": ["/bin/x"]},
    )
    record = site.wait(image.reference)

    seen = site.request("GET", path_of("inspect", image.reference)).json()

    assert seen.items() >= {k: v for k, v in record.items() if k in ("id", "size", "tag")}.items()
    assert [layer["digest"] for layer in seen["layers"]] == image.layer_digests
    assert all(layer["media_type"].endswith("tar+gzip") for layer in seen["layers"])
    assert (seen["CMD"], seen["puller_name"], seen["is_owner"]) == (["/bin/x"], "root", True)
    assert seen["path"] == str(site.image_dir / f"{seen['id']}.squashfs")
    listed = site.request("GET", f"/api/list/{SYSTEM}/").json()["list"]
    assert all("layers" not in row and "history" not in row for row in listed)


def test_an_archives_history_is_known_and_its_layers_are_not(site, wait_for, tmp_path):
    layer = tmp_path / "layer.tar"
    with tarfile.open(layer, "w") as tar:
        tar.addfile(tarfile.TarInfo("data"))
    config = {
        "architecture": "amd64", "os": "linux", "author": "somebody",
        "history": [{"created_by": "RUN make"}],
        "rootfs": {"type": "layers", "diff_ids": [sha256(layer.read_bytes())]},
    }  # fmt: skip
    (tmp_path / "config.json").write_text(json.dumps(config))
    manifest = [{"Config": "config.json", "RepoTags": None, "Layers": ["layer.tar"]}]
    (tmp_path / "manifest.json").write_text(json.dumps(manifest))
    archive = tmp_path / "image.tar"
    with tarfile.open(archive, "w") as tar:
        for name in ("manifest.json", "config.json", "layer.tar"):
            tar.add(tmp_path / name, name)
    body = {"filepath": str(archive), "format": "docker-archive"}

    def imported():
        record = site.request("POST", path_of("doimport", "custom:history:1"), json=body).json()
        return record if record["status"] in FOLLOWED else None

    record = wait_for(imported)
    assert record["status"] == "READY", record["status_message"]

    seen = site.request("GET", path_of("inspect", "custom:history:1")).json()

    assert (seen["author"], seen["layers"], seen["source_path"]) == ("somebody", None, str(archive))
    assert [step["created_by"] for step in seen["history"]] == ["RUN make"]


def test_the_file_of_an_image_is_fetched_and_a_fetch_goes_on(site, push_image, make_layer):
    content = os.urandom(3 << 20)  # that no compression makes smaller
    image = push_image(f"lib/file{os.urandom(4).hex()}:1", [make_layer(("a", content))])
    record = site.wait(image.reference)
    file = (site.image_dir / f"{record['id']}.squashfs").read_bytes()

    whole = site.request("GET", path_of("export", image.reference))
    rest = site.request("GET", path_of("export", image.reference), headers={
        "Range": "bytes=1000000-", "If-Range": whole.headers["ETag"],
    })  # fmt: skip

    assert (whole.status_code, whole.content == file) == (200, True)
    assert whole.headers["X-Shifter-Id"] == record["id"]
    assert (rest.status_code, rest.content == file[1_000_000:]) == (206, True)


def test_clients_that_take_no_bytes_hold_up_nobody(site, push_image, make_layer):
    content = os.urandom(8 << 20)  # more than sockets hold
    image = push_image(f"lib/slow{os.urandom(4).hex()}:1", [make_layer(("a", content))])
    site.wait(image.reference)
    with contextlib.ExitStack() as stack:
        for _ in range(12):
            answer = site.request("GET", path_of("export", image.reference), stream=True)
            stack.callback(answer.close)
            assert answer.status_code in (200, 429)

        for _ in range(12):
            assert site.lookup(image.reference).status_code == 200
