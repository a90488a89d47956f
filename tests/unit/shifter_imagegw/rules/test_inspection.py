# SPDX-License-Identifier: BSD-3-Clause
from __future__ import annotations

import pytest

from shifter_common.reference import ImageReference
from shifter_imagegw.acl import Acl
from shifter_imagegw.details import BuildStep, ImageDetails, Layer
from shifter_imagegw.errors import ImageNotFoundError
from shifter_imagegw.records import NewPull
from shifter_imagegw.rules.auth import Caller

ALICE = Caller(uid=1001, gid=100, known_name="alice")
BOB = Caller(uid=1002, gid=100, known_name="bob")
ADMIN = Caller(uid=0, gid=0, known_name="root")
APP = ImageReference("docker", "app:1")
DETAILS = ImageDetails.bounded(
    created="2026-01-01T00:00:00Z",
    author="somebody",
    layers=[Layer("sha256:" + "c" * 64, 512, "a/layer")],
    history=[BuildStep("2026-01-01T00:00:00Z", "RUN make", "", False)],
)


def pull(gateway, caller=ALICE, asked=None):
    gateway.service.pull(gateway.system, APP, caller, asked or Acl())


def inspect(gateway, caller=ALICE, reference=APP):
    return gateway.service.inspections.inspect(gateway.system, reference, caller).to_wire()


def test_all_that_is_known_of_an_image_is_told(gateway):
    pull(gateway)
    record = gateway.work(details=DETAILS)

    seen = inspect(gateway)

    assert seen.items() >= record.to_wire().items()
    assert (seen["format"], seen["arch"], seen["os"]) == ("squashfs", "amd64", "linux")
    assert (seen["CMD"], seen["created"], seen["author"]) == (
        ["-x"], "2026-01-01T00:00:00Z", "somebody",
    )  # fmt: skip
    assert seen["path"] == f"{gateway.system.image_dir}/{record.image_id}.squashfs"
    assert seen["layers"] == [
        {"digest": "sha256:" + "c" * 64, "size": 512, "media_type": "a/layer"}
    ]
    assert [step["created_by"] for step in seen["history"]] == ["RUN make"]
    assert (seen["first_pull"], seen["truncated"]) == (gateway.clock.now, False)


def test_of_an_older_gateways_image_less_is_known(gateway):
    pull(gateway)
    gateway.work(details=None)

    seen = inspect(gateway)

    assert [seen[name] for name in ("layers", "history", "created", "first_pull")] == [None] * 4


@pytest.mark.parametrize(
    ("caller", "is_owner", "may_change"),
    [(ALICE, True, True), (BOB, False, False), (ADMIN, False, True)],
    ids=["owner", "other", "administrator"],
)
def test_a_caller_is_told_what_they_may_do(gateway, caller, is_owner, may_change):
    pull(gateway)
    gateway.work()

    seen = inspect(gateway, caller)

    assert (seen["is_owner"], seen["may_change"]) == (is_owner, may_change)


def test_an_image_for_others_does_not_exist(gateway):
    pull(gateway, asked=Acl(users=(1003,)))
    gateway.work(details=DETAILS)

    with pytest.raises(ImageNotFoundError) as of_others:
        inspect(gateway, BOB)
    with pytest.raises(ImageNotFoundError) as of_nobody:
        inspect(gateway, BOB, ImageReference("docker", "app:2"))

    assert str(of_others.value) == str(of_nobody.value).replace("app:2", "app:1")


@pytest.mark.parametrize(
    ("caller", "path"), [(ALICE, "/home/alice/x"), (BOB, None), (ADMIN, "/home/alice/x")]
)
def test_where_an_import_came_from_is_told_to_its_owner_and_administrators(gateway, caller, path):
    new = NewPull(
        system="mycluster", image_type="custom", pull_tag="tool:1", format="squashfs",
        puller=ALICE.uid, source_path="/home/alice/x", source_format="auto",
    )  # fmt: skip
    gateway.catalog.add_pull(new, gateway.clock.now)
    gateway.work()

    seen = inspect(gateway, caller, ImageReference("custom", "tool:1"))

    assert seen["source_path"] == path
    assert "/home/alice" not in str(seen) or path


def test_to_look_closely_keeps_no_image_from_expiring(gateway_with):
    gateway = gateway_with(Metrics=True)
    pull(gateway)
    before = gateway.work()
    gateway.clock.advance(24 * 3600)

    inspect(gateway)

    assert gateway.catalog.find_ready("mycluster", "docker", "app:1") == before
    assert gateway.service.list_lookups(gateway.system, ADMIN, 10) == []
