# SPDX-License-Identifier: BSD-3-Clause
"""Who says which image a name means, what is said when nobody can, and pulling at submission."""

from __future__ import annotations

import os

import pytest

from shifter_common import munge, tag_index
from shifter_common.errors import MungeError
from tests.unit.shifter_cli.submission.conftest import IMAGE_ID, OTHER_ID

NOT_THERE = {"error": "image not found: docker:ubuntu:24.4 is not on mycluster, or is not for you"}
HINT = (
    "(--image=id:ID needs no gateway: ID is what SHIFTER_IMAGE says in a job with that image, or "
    "shifterimg lookup docker:ubuntu:24.4 has said before)"
)


def listed(*tags, image_type="docker"):
    return {"list": [{"id": OTHER_ID, "itype": image_type, "tag": list(tags), "status": "READY"}]}


@pytest.fixture
def indexed(images):
    """`indexed(id, tag)`: an image, and a tag of it in the index."""

    def add(image_id=IMAGE_ID, tag="ubuntu:24.4", **options):
        directory = images(image_id, **options)
        entry = directory / tag_index.path_of("docker", tag)
        entry.parent.mkdir(parents=True, exist_ok=True)
        entry.write_text(f"{image_id}\n")

    return add


def test_image_that_is_not_there_is_told_with_the_command_that_helps(refused, gateway):
    gateway.answer(NOT_THERE, status="404 Not Found")
    gateway.answer({"list": []})

    assert refused("--image=ubuntu:24.4") == (
        "shifter: cannot find docker:ubuntu:24.4: image not found: it is not on "
        "mycluster, or is not for you (shifterimg pull docker:ubuntu:24.4 fetches an image)\n"
    )


@pytest.mark.parametrize(
    ("tags", "hint"),
    [
        (["ubuntu:24.04", "debian:12"], "; did you mean docker:ubuntu:24.04?"),
        (["ubuntu:noble", "ubuntu:22.10.1"], "; of that name there is docker:ubuntu:22.10.1, "),
        (["ubuntv:24.4"], "; did you mean docker:ubuntv:24.4?"),
        ([f"ubuntu:{name}" for name in "abcd"], "docker:ubuntu:b, docker:ubuntu:c and 1 more\n"),
    ],
)
def test_names_that_may_have_been_meant_are_offered(tags, hint, refused, gateway):
    gateway.answer(NOT_THERE, status="404 Not Found")
    gateway.answer(listed(*tags))

    assert hint in refused("--image=ubuntu:24.4")


def test_names_of_another_kind_are_not_offered(refused, gateway):
    gateway.answer(NOT_THERE, status="404 Not Found")
    gateway.answer(listed("ubuntu:24.04", image_type="custom"))

    assert refused("--image=ubuntu:24.4").endswith("fetches an image)\n")


def test_list_that_cannot_be_had_hides_nothing(refused, gateway):
    gateway.answer(NOT_THERE, status="404 Not Found")
    gateway.answer({"error": "no"}, status="500 Internal Server Error")

    assert refused("--image=ubuntu:24.4").endswith("fetches an image)\n")


def test_silent_gateway_is_named_and_the_way_without_one(refused, silent_url, images):
    images()

    said = refused("--image=ubuntu:24.4", urls=silent_url).splitlines()

    assert said == [
        f"shifter: failed to contact the image gateway. {silent_url}: Connection refused; if this "
        "lasts, tell the site's support",
        "shifter: cannot use image 'docker:ubuntu:24.4': no image gateway answered, and it is not "
        f"in the index {images()}/.tags {HINT}",
    ]


def test_broken_gateway_is_no_answer(refused, gateway, images):
    images()
    gateway.answer({"error": "the catalog is down"}, status="503 Service Unavailable")

    assert "the catalog is down" in refused("--image=ubuntu:24.4")


def test_index_answers_for_a_silent_gateway(submit, silent_url, indexed):
    indexed()

    answer = submit("--image=ubuntu:24.4", urls=silent_url)

    assert (answer.code, answer.records["SHIFTER_IMAGE"]) == (0, IMAGE_ID)
    assert answer.said == "shifter: no image gateway answered: asked the index\n"


def test_index_answers_when_munge_does_not(submit, indexed, monkeypatch):
    def fail(*_, **__):
        raise MungeError("munged does not answer", munge.SOCKET)

    indexed()
    monkeypatch.setattr(munge, "encode", fail)

    assert submit("--image=ubuntu:24.4").records["SHIFTER_IMAGE"] == IMAGE_ID


def test_index_is_no_way_around_what_a_gateway_refuses(refused, gateway, indexed):
    indexed()
    gateway.answer(NOT_THERE, status="404 Not Found")
    gateway.answer({"list": []})

    assert "image not found" in refused("--image=ubuntu:24.4")


def test_index_is_asked_first_where_the_site_says_so(submit, gateway, indexed):
    indexed()

    answer = submit("--image=ubuntu:24.4", conf="imageLookup=index gateway")

    assert (answer.records["SHIFTER_IMAGE"], gateway.requests) == (IMAGE_ID, [])


def test_gateway_is_asked_for_what_the_index_does_not_have(submit, gateway, indexed):
    indexed(tag="debian:12")
    gateway.answer({"id": OTHER_ID})

    answer = submit("--image=ubuntu:24.4", conf="imageLookup=index gateway")

    assert (answer.records["SHIFTER_IMAGE"], answer.said) == (OTHER_ID, "")


def test_private_image_in_the_index_is_as_good_as_none(refused, gateway, indexed):
    indexed(meta=f"FORMAT: squashfs\nUSERACL: {os.getuid() + 1}\n")

    said = refused("--image=ubuntu:24.4", conf="imageLookup=index")

    assert said.startswith("shifter: cannot use image 'docker:ubuntu:24.4': it is not in the index")
    assert said.endswith("(shifterimg pull docker:ubuntu:24.4 fetches it)\n")
    assert IMAGE_ID not in said


def test_index_that_everybody_can_write_to_is_not_believed(refused, indexed, images):
    indexed()
    images().chmod(0o777)

    said = refused("--image=ubuntu:24.4", conf="imageLookup=index")

    assert "is writable by everybody" in said


def test_site_without_gateway_says_so(refused, images):
    images()

    said = refused("--image=ubuntu:24.4", urls="")

    assert "no image gateway is known (imageGateway), and it is not in the index" in said


def test_gateway_that_gives_no_id_is_not_believed(refused, gateway):
    gateway.answer({"id": "../../etc"})

    assert "'../../etc' is no image id" in refused("--image=ubuntu:24.4")


def test_refusal_of_a_gateway_is_shown(refused, gateway):
    gateway.answer({"error": "your account is closed"}, status="403 Forbidden")

    assert "your account is closed" in refused("--image=ubuntu:24.4")


def test_image_that_is_there_is_not_pulled(submit, gateway):
    gateway.answer({"id": IMAGE_ID})

    submit("--pull", "--image=ubuntu:24.4")

    assert [request.line.split()[0] for request in gateway.requests] == ["GET"]


def test_missing_image_is_pulled_with_its_progress_beside_the_answer(submit, gateway):
    gateway.answer(NOT_THERE, status="404 Not Found")
    gateway.answer({"status": "PULLING"}, {"status": "READY", "id": IMAGE_ID})

    answer = submit("--pull", "--image=ubuntu:24.4")

    assert (answer.code, answer.records["SHIFTER_IMAGE"]) == (0, IMAGE_ID)
    lines = [line.partition(" ")[2] for line in answer.said.splitlines() if line]
    assert lines == [
        "Pulling Image: docker:ubuntu:24.4, status: PULLING",
        "Pulling Image: docker:ubuntu:24.4, status: READY",
    ]


def test_failing_pull_fails_the_submission_with_its_reason(refused, gateway):
    gateway.answer(NOT_THERE, status="404 Not Found")
    gateway.answer({"status": "FAILURE", "status_message": "the registry has no such image"})

    said = refused("--pull", "--image=ubuntu:24.4")

    assert said.endswith("shifter: docker:ubuntu:24.4: the registry has no such image\n")


def test_gateway_that_does_not_answer_is_not_asked_to_pull(refused, silent_url, images):
    images()

    said = refused("--pull", "--image=ubuntu:24.4", urls=silent_url)

    assert said.count("failed to contact") == 1


def test_image_of_a_users_own_is_not_pulled(refused, gateway):
    gateway.answer({"error": "image not found: custom:tool:1 is not there"}, status="404 Not Found")
    gateway.answer({"list": [], "status": "FAILURE"})

    said = refused("--pull", "--image=custom:tool:1")

    assert "(shifterimg import FILE tool:1 makes it of a file of yours)" in said


def test_wrong_volume_is_refused_before_an_image_is_pulled(refused, gateway):
    refused("--pull", "--image=ubuntu:24.4", "--volume=/a:/etc")

    assert gateway.requests == []
