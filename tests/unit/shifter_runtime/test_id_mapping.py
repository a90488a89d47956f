# SPDX-License-Identifier: BSD-3-Clause
"""Two ids mean each other, and every other id itself: each exactly once, as the kernel demands."""

from __future__ import annotations

import pytest

from shifter_runtime import id_mapping

ALL = 2**32 - 1


@pytest.mark.parametrize(
    ("one", "other", "text"),
    [
        (
            0,
            1000,
            "0 1000 1\n1 1 999\n1000 0 1\n1001 1001 4294966294\n",
        ),
        (1000, 0, "0 1000 1\n1 1 999\n1000 0 1\n1001 1001 4294966294\n"),
        (5, 6, "0 0 5\n5 6 1\n6 5 1\n7 7 4294967288\n"),
        (7, 7, "0 0 4294967295\n"),
        (0, ALL - 1, "0 4294967294 1\n1 1 4294967293\n4294967294 0 1\n"),
    ],
)
def test_two_ids_are_swapped(one, other, text):
    assert id_mapping.swapped(one, other) == text


@pytest.mark.parametrize(("one", "other"), [(0, 1), (0, 61001), (33, 61001), (1, ALL - 1)])
def test_every_id_is_mapped_once_each_way(one, other):
    extents = [
        tuple(map(int, line.split())) for line in id_mapping.swapped(one, other).splitlines()
    ]

    for column in (0, 1):
        position = 0
        for extent in sorted(extents, key=lambda extent: extent[column]):
            assert extent[column] == position
            position += extent[2]
        assert position == ALL
