# SPDX-License-Identifier: BSD-3-Clause
"""Catalogs that lookups find something in."""

from __future__ import annotations

import contextlib

from bson import ObjectId

from benchmarks import catalogs, lookup
from benchmarks.installation import SYSTEM
from shifter_imagegw.catalog.sqlite import SqliteCatalog


def test_each_image_of_a_filled_catalog_can_be_looked_up(tmp_path):
    catalogs.fill_sqlite(tmp_path / "catalog.sqlite", 5)

    with contextlib.closing(SqliteCatalog(tmp_path / "catalog.sqlite")) as catalog:
        found = [catalog.find_ready(SYSTEM, "docker", catalogs.tag(number)) for number in range(5)]

    assert [record and record.image_id for record in found] == [
        catalogs.image_id(number) for number in range(5)
    ]


def test_a_copied_document_is_another_image_with_the_same_facts():
    model = {"_id": ObjectId(), "id": "x", "tag": ["a"], "pulltag": "a", "ENV": ["A=b"]}

    made = catalogs.copied(model, 7)

    assert made["ENV"] == ["A=b"]
    assert made["_id"] != model["_id"]
    assert (made["id"], made["tag"]) == (catalogs.image_id(7), [catalogs.tag(7)])
    assert made["pulltag"] == catalogs.tag(7)


def test_no_two_images_have_one_tag():
    assert len({catalogs.tag(number) for number in range(10_000)}) == 10_000


def test_the_originals_figures_are_shown_for_the_sizes_that_were_measured():
    known = lookup._of_the_original(10_000)

    assert [one.per_second for one in known] == [92.0]
    assert lookup._of_the_original(10) == ()
