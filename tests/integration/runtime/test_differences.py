# SPDX-License-Identifier: BSD-3-Clause
"""`shifter -v` says in one line why the container of the job was not joined."""

from __future__ import annotations

import pytest

from tests.integration.runtime.batch import STATE
from tests.integration.runtime.node import BOB, IMAGE_ID

pytestmark = pytest.mark.root

OTHER_ID = "b" * 64


def reasons(batch, *words: str, **options: object) -> list[str]:
    done = batch.shifter("--verbose", *words, "true", job="12", **options)
    assert done.returncode == 0, done.stderr
    begin = "shifter: not joining the container prepared for job 12: "
    return [line.removeprefix(begin) for line in done.stderr.splitlines() if begin in line]


@pytest.mark.parametrize(
    ("prepared", "launched", "reason"),
    [
        (["-v", "/shared:/a"], [], "its volumes are /shared:/a, not none"),
        ([], ["--volume=/shared:/a:ro"], "its volumes are none, not /shared:/a:ro"),
        (["-m", "one"], ["--module=none"], "its modules are one, not none"),
        (
            ["-v", "/shared:/a", "-m", "one,other"],
            [],
            "its volumes are /shared:/a, not none, and its modules are one,other, not none",
        ),
        ([], ["--writable"], "--writable: such a launch always makes its own"),
        (
            [],
            ["--mount=tmpfs:/scratch", "--no-mount=shared"],
            "--mount and --no-mount: such a launch always makes its own",
        ),
    ],
)
def test_what_differs_is_named(batch, prepared, launched, reason):
    batch.node.configure(module_one_siteEnv="A=1", module_other_siteEnv="B=1")
    assert batch.setup("--job", "12", *prepared).returncode == 0

    assert reasons(batch, *launched) == [reason]


def test_another_image_is_named(batch):
    batch.node.add_image(image_id=OTHER_ID)
    batch.setup("--job", "12")

    assert reasons(batch, image=OTHER_ID) == [f"its image is {IMAGE_ID}, not {OTHER_ID}"]


def test_another_user_is_not_named(batch):
    batch.setup("--job", "12", "-u", "alice")

    assert reasons(batch, user=BOB) == ["it was prepared for another user"]


def test_another_release_is_told(batch):
    batch.setup("--job", "12")
    batch.run("sed", "-i", "1s/.*/shifter-udi 99/", f"{STATE}/12/record")

    assert reasons(batch) == ["another release of Shifter prepared it"]


def test_a_container_that_was_unmounted_by_hand_is_told(batch):
    batch.setup()
    batch.run("umount", "--lazy", batch.node.prefix / "udi")

    done = batch.shifter("--verbose", "true")

    assert f"prepared for this node: somebody unmounted it from {batch.node.prefix}/udi" in (
        done.stderr
    )


def test_without_a_container_or_without_verbose_nothing_is_said(batch):
    assert reasons(batch) == []
    batch.setup("--job", "12")
    assert reasons(batch) == []  # it was joined
    assert batch.shifter("--writable", "true", job="12").stderr == ""
