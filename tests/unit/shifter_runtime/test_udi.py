# SPDX-License-Identifier: BSD-3-Clause
"""Paths in the container are taken apart by whole components."""

from __future__ import annotations

import pytest

from shifter_runtime import udi


@pytest.mark.parametrize(
    ("path", "parts"),
    [("/a", ("/", "a")), ("/a/b", ("/a", "b")), ("/a/b/", ("/a", "b")), ("/a b/ü", ("/a b", "ü"))],
)
def test_a_path_is_a_parent_and_a_name(path, parts):
    assert udi.split(path) == parts
