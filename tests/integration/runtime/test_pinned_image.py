# SPDX-License-Identifier: BSD-3-Clause
"""A job's launches use the image that was looked up when it was submitted, and ask no gateway.

No gateway is there: nothing answers where the node's configuration says that one is.
"""

from __future__ import annotations

import json
import re

import pytest

from tests.integration.runtime.batch import STATE, BatchNode
from tests.integration.runtime.node import ALICE, BOB, IMAGE_ID

pytestmark = pytest.mark.root

OTHER_ID = "b" * 64


def launch(batch: BatchNode, *words: str, env: dict[str, str] | None = None, user: int = 61001):
    """A launch in job 12 that names its image in the way of `words` and `env` alone."""
    named = {"SLURM_JOB_ID": "12"} | (env or {})
    return batch.run(batch.node.launcher, *words, "env", user=user, env=named)


def prepare(batch: BatchNode, request: str, *words: str) -> None:
    done = batch.setup("--job", "12", f"--request={request}", *words)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize(
    ("request_", "words", "env"),
    [
        ("docker:debian:12", ["--image=docker:debian:12"], {}),
        ("docker:debian:12", ["--image=debian:12"], {}),
        ("docker:debian:12", ["--image=docker://debian:12"], {}),
        ("docker:debian", ["--image=debian:latest"], {}),
        ("docker:debian:latest", ["--image=debian"], {}),
        ("custom:mine:v1", ["--image=custom:mine:v1"], {}),
        ("docker:debian:12", [], {"SHIFTER": "docker:debian:12"}),
        ("docker:debian:12", [], {"SHIFTER_IMAGEREQUEST": "debian:12"}),
        ("docker:debian:12", [], {"SLURM_SPANK_SHIFTER_IMAGEREQUEST": "docker:debian:12"}),
        (
            "docker:debian:12",
            [],
            {"SHIFTER_IMAGETYPE": "docker", "SHIFTER_IMAGE": "debian:12"},
        ),
    ],
)
def test_the_same_name_means_the_same_image(batch, request_, words, env):
    prepare(batch, request_)

    done = launch(batch, "--verbose", *words, env=env)

    assert done.returncode == 0, done.stderr
    assert f"SHIFTER_IMAGE={IMAGE_ID}\n" in done.stdout
    assert f"taking image {IMAGE_ID}, which was looked up for job 12\n" in done.stderr
    assert "joining the container prepared for job 12\n" in done.stderr


@pytest.mark.parametrize(
    "name", ["docker:debian:13", "debian", "custom:debian:12", "debian:12.1", "xdebian:12"]
)
def test_another_name_is_looked_up(batch, name):
    prepare(batch, "docker:debian:12")

    done = launch(batch, f"--image={name}")

    assert done.returncode == 1
    assert "cannot use image" in done.stderr


def test_another_user_looks_up_for_himself(batch):
    prepare(batch, "docker:debian:12")

    assert launch(batch, "--image=debian:12", user=BOB).returncode == 1


def test_outside_of_the_job_the_name_is_looked_up(batch):
    prepare(batch, "docker:debian:12")

    assert launch(batch, "--image=debian:12", env={"SLURM_JOB_ID": "13"}).returncode == 1


def test_a_launch_that_differs_otherwise_uses_the_jobs_image_too(batch):
    prepare(batch, "docker:debian:12")

    done = launch(batch, "--image=debian:12", "--writable")

    assert (done.returncode, f"SHIFTER_IMAGE={IMAGE_ID}\n" in done.stdout) == (0, True)


def test_the_jobs_own_container_goes_before_the_nodes(batch):
    batch.node.add_image(image_id=OTHER_ID)
    batch.setup("--request=docker:debian:12", image=OTHER_ID)
    prepare(batch, "docker:debian:12")

    assert f"SHIFTER_IMAGE={IMAGE_ID}\n" in launch(batch, "--image=debian:12").stdout
    outside = launch(batch, "--image=debian:12", env={"SLURM_JOB_ID": "1"})
    assert f"SHIFTER_IMAGE={OTHER_ID}\n" in outside.stdout


def test_the_access_list_holds_for_an_image_that_was_not_looked_up_again(batch):
    batch.node.add_image(meta=f"USERACL: {ALICE}\n")
    prepare(batch, "docker:debian:12")
    batch.node.add_image(meta=f"USERACL: {BOB}\n")

    assert "permission denied" in launch(batch, "--image=debian:12").stderr


def test_a_job_goes_on_by_name_when_its_image_has_expired(batch):
    prepare(batch, "docker:debian:12")
    for file in batch.node.images.iterdir():
        file.unlink()

    assert launch(batch, "--image=debian:12").returncode == 0


def test_timing_says_where_the_image_came_from(batch):
    prepare(batch, "docker:debian:12")

    done = launch(batch, "--image=debian:12", "--timing", "--json")

    steps = [each["step"] for each in json.loads(done.stderr)["steps"]]
    assert "take the image that the job was prepared with" in steps
    assert "look up the image" not in steps


@pytest.mark.parametrize(
    ("request_", "problem"),
    [
        ("id:" + IMAGE_ID, "is never looked up"),
        ("local:/x", "is never looked up"),
        ("debian:12", "has no type"),
        ("docker:", "names no image"),
        ("docker:a b", "is no image name"),
        ("docker:a\nb", "is no image name"),
        ("docker:" + "x" * 65536, "characters long"),
    ],
)
def test_what_cannot_have_been_looked_up_is_wrong_usage(batch, request_, problem):
    done = batch.setup("--job", "12", f"--request={request_}")

    assert (done.returncode, problem in done.stderr, len(done.stderr) < 600) == (2, True, True)
    assert batch.is_clean()


def test_a_container_that_was_prepared_before_an_update_is_still_joined(batch):
    """Its record has no line for the request."""
    prepare(batch, "docker:debian:12")
    record = f"{STATE}/12/record"
    batch.run("sed", "-i", "-e", "1s/2$/1/", "-e", "4d", record)
    assert re.match(r"shifter-udi 1\n\d+ \d+ \d+ 0\nalice\n\{", batch.run("cat", record).stdout)

    assert batch.joined(job="12") == "12"
    assert launch(batch, "--image=debian:12").returncode == 1


def test_the_first_number_of_the_records_second_line_is_the_users(batch):
    """Slurm's plugin holds it against the job's before a task enters the container."""
    prepare(batch, "docker:debian:12", "-u", "bob")

    lines = batch.run("cat", f"{STATE}/12/record").stdout.splitlines()

    assert lines[1].split()[0] == str(BOB)
