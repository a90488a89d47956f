# SPDX-License-Identifier: BSD-3-Clause
"""Commands of the installed shifter-admin, asked of a real gateway by root and by a user."""

from __future__ import annotations

import json
import os
import subprocess
import time

import pytest

from shifter_imagegw.operation.usage import day_of
from tests.integration.conftest import SYSTEM, wait_until
from tests.integration.runtime.node import ALICE

pytestmark = [pytest.mark.root, pytest.mark.registry, pytest.mark.munge]

AS_ALICE = {"user": ALICE, "group": ALICE, "extra_groups": ()}


@pytest.fixture(scope="module")
def image(push_image, make_layer):
    return push_image("admin/app:1", [make_layer(("etc/app", b"app"))])


@pytest.fixture(scope="module")
def pulled(image, admin_gateway):
    assert admin_gateway.wait(image.reference)["status"] == "READY"
    return image


@pytest.fixture
def shown(admin):
    """What a command prints as JSON, which must end well."""

    def run(*arguments, **options):
        result = admin(*arguments, "--json", **options)
        assert result.returncode == 0, result.stderr
        return json.loads(result.stdout)

    return run


def test_images_are_listed_with_who_has_them(shown, admin, pulled):
    (row,) = [row for row in shown("images") if pulled.name in row["tag"]]
    text = admin("images", pulled.name).stdout

    assert (row["id"], row["puller"]) == (pulled.image_id, 0)
    assert text.splitlines()[1].split()[0] == "root"
    assert text.splitlines()[1].split()[-2:] == ["all", pulled.name]


def test_users_and_their_space_are_for_administrators(shown, admin, pulled):
    (root,) = [row for row in shown("users") if row["uid"] == 0]

    assert (root["name"], root["images"] >= 1, root["bytes"] > 0) == ("root", True, True)
    refused = admin("users", **AS_ALICE)
    assert refused.returncode == 1
    assert "only administrators of cluster may" in refused.stderr


def test_what_is_looked_up_and_pulled_is_in_the_stats(shown, site, pulled, admin_gateway):
    before = shown("stats", "--days", "2")["totals"]
    subprocess.run(
        [site.prefix / "bin/shifterimg", "lookup", pulled.name],
        check=True, stdout=subprocess.DEVNULL, **AS_ALICE,
    )  # fmt: skip

    # The other process that answers may have counted it, and tells within seconds.
    def counted():
        found = shown("stats", "--days", "2")
        return found if found["totals"]["lookups"] > before["lookups"] else None

    found = wait_until(counted, what="the lookup in the history")

    assert found["totals"]["pulls"] >= 1
    assert found["totals"]["bytes"] > 0
    (row,) = [row for row in found["top_images"] if row["image"] == pulled.reference]
    assert row["users"] >= 1
    assert ALICE in [row["uid"] for row in found["top_users"]]
    assert found["days"][-1]["day"] >= found["days"][-2]["day"] > "2020"
    assert found["days"][-1]["day"] <= day_of(time.time())


def test_users_see_no_other_user_and_no_private_image(shown, image, push_image, make_layer,
                                                      admin_gateway):  # fmt: skip
    secret = push_image("admin/secret:1", [make_layer(("etc/secret", b"x"))])
    lists = {"allowed_uids": "0", "allowed_gids": ""}
    admin_gateway.wait(secret.reference, json=lists)
    assert admin_gateway.lookup(secret.reference).status_code == 200

    def named():
        found = shown("stats")
        return found if "admin/secret" in str(found["top_images"]) else None

    wait_until(named, what="the private image in the administrator's stats")
    theirs = shown("stats", **AS_ALICE)

    assert "admin/secret" not in json.dumps(theirs)
    assert theirs["top_users"] is None
    assert theirs["totals"]["lookups"] >= 1


def test_a_failure_is_in_the_queue_with_its_reason(admin, admin_gateway):
    admin_gateway.wait("docker:admin/missing:1")

    result = admin("queue", "--failed")

    assert "FAILURE" in result.stdout
    assert "docker:admin/missing:1" in result.stdout
    assert "there is no" in " ".join(result.stdout.split())


def test_a_failed_job_can_be_begun_again(admin, admin_gateway, push_image, make_layer):
    admin_gateway.wait("docker:admin/late:1")
    push_image("admin/late:1", [make_layer(("etc/late", b"late"))])

    result = admin("requeue", "admin/late:1", "--yes")

    assert (result.returncode, result.stderr) == (0, "")
    wait_until(
        lambda: admin_gateway.lookup("docker:admin/late:1").status_code == 200,
        what="the image that was requeued",
    )


def test_a_job_that_is_not_there_cannot_be_cancelled(admin, admin_gateway):
    result = admin("cancel", "admin/never:1", "--yes")

    assert result.returncode == 1
    assert result.stderr.startswith("shifter-admin: cannot cancel docker:admin/never:1: ")
    assert "too old" not in result.stderr


def test_waste_is_found_and_removed_on_the_gateway_s_host(admin, admin_gateway, pulled):
    orphan = admin_gateway.image_dir / f"{'f' * 64}.squashfs"
    orphan.write_bytes(b"hsqs" + bytes(4096))

    os.utime(orphan, (1e9, 1e9))

    dry = admin("gc", "--dry-run", "--json")
    assert orphan.exists()
    done = admin("gc", "--yes")

    (system,) = json.loads(dry.stdout)["systems"]
    assert [each["image_id"] for each in system["orphans"]] == ["f" * 64]
    assert (done.returncode, orphan.exists()) == (0, False)
    assert admin_gateway.lookup(pulled.reference).status_code == 200


def test_expired_images_are_removed_from_afar(admin, admin_gateway, push_image, make_layer):
    old = push_image("admin/old:1", [make_layer(("etc/old", b"old"))])
    admin_gateway.wait(old.reference)

    result = admin("gc", "--remote", "--dry-run")

    assert (result.returncode, "0 expired images" in result.stdout) == (0, True)
    assert admin("gc", "--remote", **AS_ALICE).returncode == 1


@pytest.mark.mongodb
def test_a_catalog_moves_to_mongodb_and_is_served_from_there(
    admin, site, make_gateway, mongo_database, push_image, make_layer, tmp_path
):
    gateway = make_gateway(Metrics=True)
    image = push_image("admin/moving:1", [make_layer(("etc/moving", b"m"))])
    gateway.wait(image.reference)
    config = ("--gateway-config", str(gateway.config_path))
    place = f"{mongo_database.uri}{mongo_database.name}"

    running = admin("migrate", "--to", place, *config)
    gateway.stop()
    moved = admin("migrate", "--to", place, *config)
    gateway.config |= {"MongoDBURI": mongo_database.uri, "MongoDB": mongo_database.name}
    gateway.start()

    assert (running.returncode, "a gateway runs on" in running.stderr) == (1, True)
    assert moved.returncode == 0, moved.stderr
    assert "verified: all counts agree" in moved.stdout
    answer = gateway.lookup(image.reference)
    assert answer.json()["id"] == image.image_id
    assert gateway.request("GET", f"/api/stats/{SYSTEM}/").json()["totals"]["pulls"] == 1
