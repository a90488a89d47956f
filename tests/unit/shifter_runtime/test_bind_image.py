# SPDX-License-Identifier: BSD-3-Clause
"""What is bound as the image is what was opened and checked as the image."""

from __future__ import annotations

import os

import pytest

from shifter_common.metadata import ImageMetadata
from shifter_runtime import syscalls
from shifter_runtime.errors import SetupError
from shifter_runtime.image import Image
from shifter_runtime.operations.root import BindImage


@pytest.fixture
def checked(tmp_path, monkeypatch):
    """A directory image that was opened; nothing may be bound."""
    monkeypatch.setattr(syscalls, "clone_tree", lambda *_, **__: pytest.fail("it was bound"))
    place = tmp_path / "image.VFS"
    place.mkdir()
    descriptor = os.open(place, os.O_RDONLY)
    yield place, Image("a" * 64, str(place), descriptor, ImageMetadata(format="VFS"))
    os.close(descriptor)


def test_a_directory_that_was_swapped_after_it_was_checked_is_not_bound(checked):
    place, image = checked
    place.rename(place.with_name("old"))
    place.mkdir()

    with pytest.raises(SetupError, match="image.VFS was replaced at this moment"):
        BindImage(image, "/nowhere").execute()


def test_a_link_in_its_place_is_not_followed_even_to_the_same_directory(checked):
    place, image = checked
    place.rename(place.with_name("old"))
    place.symlink_to("old")

    with pytest.raises(OSError, match="Not a directory|Too many levels"):
        BindImage(image, "/nowhere").execute()
