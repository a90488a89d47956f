# SPDX-License-Identifier: BSD-3-Clause
"""What a launch says when the kernel refuses a step."""

from __future__ import annotations

import errno
import os

import pytest

from shifter_runtime import namespace
from shifter_runtime.errors import SetupError


class Failing:
    """A step of a plan that the kernel refuses."""

    def __init__(self, code: int, name: str | None) -> None:
        self.error = OSError(code, os.strerror(code), name)

    def __str__(self) -> str:
        return "mount IMAGE on /loop"

    def execute(self) -> None:
        raise self.error


class FailingPlan:
    def __init__(self, code: int, name: str | None) -> None:
        self.image = Failing(code, name)


@pytest.mark.parametrize(
    ("code", "name", "reason"),
    [
        (errno.ENOSYS, "squashfs", "this node's kernel is too old: Linux 5.12 or newer is needed"),
        (errno.ENODEV, "squashfs", "this node's kernel has no squashfs: its module is missing"),
        (errno.EINVAL, "squashfs", "the file is damaged, or no squashfs that this kernel can read"),
        (errno.ENOSPC, "/dev/loop3", "No space left on device (/dev/loop3)"),
        (errno.ENOSPC, None, "No space left on device"),
    ],
)
def test_the_step_the_object_and_the_reason_are_said(code, name, reason):
    with pytest.raises(SetupError) as raised:
        namespace.build(FailingPlan(code, name))

    assert str(raised.value) == f"cannot mount IMAGE on /loop: {reason}"
