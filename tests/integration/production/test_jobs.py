# SPDX-License-Identifier: BSD-3-Clause
"""Jobs that users end, repeat and look into, and lists that they change, in production."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import requests

from tests.integration.conftest import PushedImage, wait_until
from tests.integration.production.site import Site, held_pulls

pytestmark = [pytest.mark.registry, pytest.mark.redis, pytest.mark.mongodb]

BOB = "bob:1002"


@pytest.fixture(scope="module")
def running(make_site: Callable[..., Site]) -> Site:
    site = make_site()
    site.start_api()
    site.start_worker("worker")
    return site


def ask(site: Site, verb: str, image: PushedImage, **options: object) -> requests.Response:
    method = "GET" if verb == "inspect" else "POST"
    return site.request(method, f"/api/{verb}/alpha/docker/{image.name}/", **options)


def test_pulls_are_cancelled_wherever_they_are_and_their_worker_goes_on(running, push_new):
    with held_pulls(running, push_new) as images:
        for image in images.values():
            assert running.pull(image, user=BOB)["status"] != "FAILURE"
            assert ask(running, "cancel", image, user=BOB).status_code == 403
            answer = ask(running, "cancel", image)
            assert answer.status_code == 200, answer.text
            for user in ("alice:1001", BOB):
                told = running.pull(image, user=user)
                assert (told["status"], told["status_message"]) == ("FAILURE", "cancelled by alice")

    with running.open_catalog() as catalog:
        wait_until(lambda: not catalog.workers(), what="the worker to let go")
        assert not {image.name for image in images.values()} & {
            tag for record in catalog.list_ready("alpha") for tag in record.tags
        }
    directory = running.image_dir("alpha")
    wait_until(lambda: not list(directory.glob(".*.partial")), what="partial files to go")
    for image in images.values():
        assert running.pull(image)["status"] == "INIT"
        assert running.wait(image)["status"] == "READY"


def test_a_failed_pull_is_repeated_by_a_worker_that_is_told(running, push_new, registry):
    missing = PushedImage("lib/later:1", "sha256:" + "0" * 64, [])
    running.pull(missing)
    assert running.wait(missing)["status"] == "FAILURE"
    blob = registry.blob_path(push_new().layer_digests[0]).read_bytes()
    image = registry.push(missing.name, [blob])

    answer = ask(running, "requeue", image)

    assert (answer.status_code, answer.json()["status"]) == (200, "PENDING"), answer.text
    assert running.wait(image)["id"] == image.image_id


def test_lists_are_changed_and_the_next_look_shows_it(running, push_new):
    image = push_new()
    running.pull(image)
    record = running.wait(image)
    path = f"/api/acl/alpha/docker/{image.name}/"
    wanted = {"allowed_uids": "1001,1003"}

    def changed() -> dict[str, object] | None:
        credential = {"authentication": "good:alice:alice::1001:1001"}
        answer = requests.post(f"{running.url}{path}", json=wanted, headers=credential, timeout=30)
        assert answer.status_code == 200, answer.text
        found: dict[str, object] = answer.json()
        return found if found["status"] in ("READY", "FAILURE") else None

    ended = wait_until(changed)

    assert (ended["status"], set(ended["userACL"])) == ("READY", {1001, 1003})
    metadata = (running.image_dir("alpha") / f"{record['id']}.meta").read_text()
    assert "USERACL: 1003,1001\n" in metadata
    assert ask(running, "inspect", image, user=BOB).status_code == 404
    seen = ask(running, "inspect", image).json()
    assert [layer["digest"] for layer in seen["layers"]] == image.layer_digests
    assert running.queue() == []
