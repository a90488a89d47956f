# SPDX-License-Identifier: BSD-3-Clause
"""Every catalog there is: the contract tests run with each."""

from __future__ import annotations

from pathlib import Path

import pytest

from shifter_imagegw.catalog.sqlite import SqliteCatalog


@pytest.fixture(params=["sqlite"])
def catalog_address(request, tmp_path):
    """Where the one catalog of this test is: its kind, a colon, and its place."""
    return f"{request.param}:{tmp_path / 'catalog.sqlite'}"


@pytest.fixture
def open_catalog(catalog_address):
    """Open the catalog; each call is another process's view of it."""
    opened = []

    def open_one():
        kind, _, place = catalog_address.partition(":")
        assert kind == "sqlite"
        opened.append(SqliteCatalog(Path(place)))
        return opened[-1]

    yield open_one
    for catalog in opened:
        catalog.close()


@pytest.fixture
def catalog(open_catalog):
    return open_catalog()
