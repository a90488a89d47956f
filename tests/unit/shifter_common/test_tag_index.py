# SPDX-License-Identifier: BSD-3-Clause
from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shifter_common import tag_index
from shifter_common.errors import InvalidReferenceError
from shifter_common.reference import ImageReference

LONG = "a" * 199


@st.composite
def tags(draw):
    """What `ImageReference` lets through, the long and dotted ones too."""
    text = draw(st.text(alphabet="aZ9_.:+@-/", min_size=1, max_size=12))
    text *= draw(st.sampled_from([1, 1, 20, 50]))
    try:
        return ImageReference.checked("docker", text[:512]).tag
    except InvalidReferenceError:
        return "x:1"


def test_an_entry_is_called_like_its_tag():
    assert tag_index.path_of("docker", "ubuntu:24.04") == ".tags/docker/ubuntu:24.04"
    assert tag_index.path_of("docker", "a/b:1") == ".tags/docker/a%2Fb:1"


@pytest.mark.parametrize("tag", ["a" * 512, "a/" * 255 + "b", LONG + "..:1", LONG + "./b", LONG])
def test_every_part_of_a_place_can_be_a_file_name(tag):
    parts = tag_index.path_of("docker", tag).split("/")

    assert max(len(part.encode()) for part in parts) <= 255
    assert not {"", ".", ".."} & set(parts)
    assert all(not part.startswith(".") for part in parts[1:])


@given(tags())
def test_a_tag_is_found_at_its_place_and_at_no_other(tag):
    path = tag_index.path_of("docker", tag)

    assert tag_index.tag_at(path) == ("docker", tag)


@given(tags(), tags())
def test_no_entry_is_where_another_needs_a_directory(tag, other):
    path, place = tag_index.path_of("docker", tag), tag_index.path_of("docker", other)

    assert (path == place) == (tag == other)
    assert not place.startswith(f"{path}/")


@pytest.mark.parametrize(
    "path", ["", "x", ".tags", ".tags/docker", ".tags/docker/", ".tags/docker/%41", "../docker/x"]
)
def test_what_is_no_place_has_no_tag(path):
    known = tag_index.tag_at(path)

    assert known is None or tag_index.path_of(*known) == path
