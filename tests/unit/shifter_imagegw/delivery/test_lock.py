# SPDX-License-Identifier: BSD-3-Clause
from __future__ import annotations

import pytest

from shifter_imagegw.delivery import lock
from shifter_imagegw.errors import DeliveryError, LeaseLostError

IMAGE_ID = "ab" * 32


def never_wait():
    pytest.fail("the lock should have been free")


def give_up():
    raise LeaseLostError("another worker has it")


def test_who_waits_for_an_image_can_give_up(tmp_path):
    with (
        lock.held(tmp_path, "cori", IMAGE_ID, never_wait),
        pytest.raises(LeaseLostError),
        lock.held(tmp_path, "cori", IMAGE_ID, give_up),
    ):
        pytest.fail("two hold one lock")


def test_a_lock_is_free_again_after_its_body_however_that_ends(tmp_path):
    with pytest.raises(KeyError), lock.held(tmp_path, "cori", IMAGE_ID, never_wait):
        raise KeyError

    with lock.held(tmp_path, "cori", IMAGE_ID, never_wait):
        pass


@pytest.mark.parametrize(("system", "image_id"), [("cori", "cd" * 32), ("a/b", IMAGE_ID)])
def test_another_image_or_system_has_another_lock(tmp_path, system, image_id):
    with (
        lock.held(tmp_path, "cori", IMAGE_ID, never_wait),
        lock.held(tmp_path, system, image_id, never_wait),
    ):
        pass


def test_a_directory_that_cannot_hold_the_lock_is_named(tmp_path):
    (tmp_path / "file").touch()

    with (
        pytest.raises(DeliveryError, match="cannot lock the image with .*file"),
        lock.held(tmp_path / "file", "cori", IMAGE_ID, never_wait),
    ):
        pass
