# SPDX-License-Identifier: BSD-3-Clause
"""Images of jobs, with a real registry, a real gateway, real munge, and users."""

from __future__ import annotations

import os
import pty
import re
import signal

import pyte
import pytest

from tests.integration.conftest import SYSTEM
from tests.integration.runtime.node import ALICE, BOB
from tests.integration.submission.conftest import finish

pytestmark = [pytest.mark.root, pytest.mark.registry, pytest.mark.munge]

LINE = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d Pulling Image: %s, status: %s"


def pinned(image):
    return {
        "SHIFTER_IMAGETYPE": "id",
        "SHIFTER_IMAGE": image.image_id,
        "SHIFTER_IMAGEREQUEST": image.name,
        "SHIFTER_PINNED_REQUEST": image.reference,
    }


def test_image_is_pinned_as_its_user(submit, gateway, push_new):
    image = push_new()
    gateway.wait(image.reference)

    answer = submit(f"--image={image.name}")

    assert (answer.code, answer.said, answer.records) == (0, "", pinned(image))


def test_missing_image_is_told_with_the_command_that_helps(submit):
    answer = submit("--image=submission/never-pulled:1")

    name = "docker:submission/never-pulled:1"
    assert (answer.code, answer.records) == (1, {})
    assert answer.said == (
        f"shifter: cannot find {name}: image not found: it is not on {SYSTEM}, or is not for "
        f"you (shifterimg pull {name} fetches an image)\n"
    )


def test_misspelt_image_is_told_with_the_one_that_is_there(submit, gateway, push_new):
    image = push_new()
    gateway.wait(image.reference)

    answer = submit(f"--image={image.name}0")

    assert answer.said.endswith(f"; did you mean {image.reference}?\n")


def test_missing_image_is_pulled_with_progress_where_no_terminal_is(submit, push_new):
    image = push_new()

    answer = submit("--pull", f"--image={image.name}")

    assert (answer.code, answer.records) == (0, pinned(image))
    lines = [line for line in answer.said.splitlines() if line]
    assert re.fullmatch(LINE % (re.escape(image.reference), "READY"), lines[-1])
    assert "\x1b" not in answer.said
    assert submit("--pull", f"--image={image.name}").said == ""


def test_terminal_sees_the_final_line_and_no_other(login_node, gateway, push_new):
    image = push_new()
    login_node.use(gateway.url)
    master, slave = pty.openpty()
    process = login_node.start("--pull", f"--image={image.name}", stderr=slave)
    os.close(slave)
    shown = b""
    try:
        while piece := os.read(master, 4096):
            shown += piece
    except OSError:  # how the end of a pseudo-terminal is told
        pass
    finally:
        os.close(master)

    assert finish(process).records == pinned(image)
    screen = pyte.Screen(200, 24)
    pyte.Stream(screen).feed(shown.decode())
    (last,) = [line.rstrip() for line in screen.display if line.strip()]
    assert re.fullmatch(LINE % (re.escape(image.reference), "READY"), last)


def test_many_submissions_of_one_new_image_have_it_pulled_once(login_node, gateway, push_new):
    image = push_new()
    login_node.use(gateway.url)

    started = [login_node.start("--pull", f"--image={image.name}") for _ in range(4)]
    answers = [finish(process) for process in started]

    assert [answer.records for answer in answers] == [pinned(image)] * 4
    claims = [line for line in gateway.log.splitlines() if "pull finished" in line]
    assert sum(image.reference in line for line in claims) == 1


def test_failing_pull_says_what_the_registry_said(submit):
    answer = submit("--pull", "--image=submission/nowhere:1")

    assert (answer.code, answer.records) == (1, {})
    assert re.fullmatch(
        r"shifter: docker:submission/nowhere:1: there is no \S+/submission/nowhere:1 .*: check the "
        "name and the tag",
        answer.said.splitlines()[-1],
    )


def test_interrupted_pull_leaves_no_answer(
    login_node, make_gateway, run_registry, make_layer, tmp_path
):
    with run_registry(tmp_path) as registry:
        image = registry.push("submission/slow:1", [make_layer(("etc", None))])
        gateway = make_gateway(
            Locations={"default": {"remotetype": "dockerv2", "url": registry.url}}
        )
        login_node.use(gateway.url)
        registry.process.send_signal(signal.SIGSTOP)  # so that the pull is not over too soon
        try:
            process = login_node.start("--pull", f"--image={image.name}")
            while "Pulling Image" not in (line := process.stderr.readline()):
                assert line, "it ended without a word"
            process.send_signal(signal.SIGINT)
            stdout, stderr = process.communicate(timeout=20)
        finally:
            registry.process.send_signal(signal.SIGCONT)

    assert (process.returncode, stdout) == (130, "")
    assert "the pull goes on at the gateway" in stderr
    assert "Traceback" not in stderr


@pytest.fixture
def private_image(gateway, push_new):
    """An image for alice alone."""
    image = push_new()
    gateway.wait(image.reference, json={"allowed_uids": str(ALICE)})
    return image


def test_private_image_is_for_those_in_its_access_list(submit, private_image):
    assert submit(f"--image={private_image.name}", user=ALICE).records == pinned(private_image)


def test_private_image_is_not_there_for_others(submit, private_image):
    answer = submit(f"--image={private_image.name}", user=BOB)

    assert (answer.code, answer.records) == (1, {})
    assert "or is not for you" in answer.said
    assert private_image.image_id not in answer.said


@pytest.fixture
def gateway_of_node(login_node, make_gateway):
    """A gateway that delivers to where users of the login node can see it."""
    own = make_gateway(start=False)
    own.config["Platforms"][SYSTEM]["local"]["imageDir"] = str(login_node.images)
    own.start()
    login_node.use(own.url)
    return own


@pytest.fixture
def image_of_alice(gateway_of_node, push_new):
    """The id of a private image that is on the login node."""
    image = push_new()
    gateway_of_node.wait(image.reference, json={"allowed_uids": str(ALICE)})
    return image.image_id


def test_id_of_a_private_image_is_refused_where_users_can_read_its_list(login_node, image_of_alice):
    for path in login_node.images.glob(f"{image_of_alice}.*"):
        path.chmod(0o644)  # as older gateways wrote them

    to_alice = login_node.submit(f"--image=id:{image_of_alice}", user=ALICE)
    to_bob = login_node.submit(f"--image=id:{image_of_alice}", user=BOB)

    assert (to_alice.code, to_alice.said) == (0, "")
    assert (to_bob.code, to_bob.records) == (1, {})
    assert f"permission denied to image {image_of_alice}: neither you (bob)" in to_bob.said


def test_image_that_only_root_can_read_is_left_to_the_nodes(login_node, image_of_alice):
    answer = login_node.submit(f"--image=id:{image_of_alice}", user=BOB)

    assert (answer.code, answer.said) == (0, "")


def test_gateway_that_is_down_is_named_and_the_way_without_one(login_node, gateway_of_node):
    gateway_of_node.stop()

    answer = login_node.submit("--pull", "--image=submission/down:1")

    assert (answer.code, answer.records) == (1, {})
    first, second = answer.said.splitlines()
    assert gateway_of_node.url in first
    assert "Connection refused" in first
    assert "(--image=id:ID needs no gateway: " in second


def test_munge_that_does_not_run_is_named(login_node, gateway):
    login_node.use(gateway.url, mungeSocketPath=login_node.directory / "no.socket")

    answer = login_node.submit("--image=submission/x:1")

    assert (answer.code, answer.records) == (1, {})
    assert answer.said.startswith("shifter: munged does not answer at ")
