# SPDX-License-Identifier: BSD-3-Clause
"""Every catalog there is: the contract tests run with each."""

from __future__ import annotations

import pytest

from shifter_imagegw.catalog.sqlite import SqliteCatalog


@pytest.fixture(params=["sqlite"])
def open_catalog(request, tmp_path):
    """Open the one catalog of this test; each call is another process's view of it."""
    opened = []

    def open_one():
        assert request.param == "sqlite"
        opened.append(SqliteCatalog(tmp_path / "catalog.sqlite"))
        return opened[-1]

    yield open_one
    for catalog in opened:
        catalog.close()


@pytest.fixture
def catalog(open_catalog):
    return open_catalog()
