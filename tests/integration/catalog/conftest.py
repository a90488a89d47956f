# SPDX-License-Identifier: BSD-3-Clause
"""Every catalog there is: the contract tests run with each."""

from __future__ import annotations

import dataclasses

import pymongo
import pytest

from shifter_imagegw.records import PublishedImage
from tests.catalogs import address_of, open_at, recorded

IMAGE = PublishedImage(
    image_id="a" * 64,
    format="squashfs",
    architecture="amd64",
    os="linux",
    private=False,
    env=("PATH=/bin", "FOO=bar"),
    entry=("/bin/true",),
    command=("-x",),
    workdir="/etc",
    labels=None,
    size=4096,
    expiration=None,
)


@pytest.fixture(params=["sqlite", pytest.param("mongodb", marks=pytest.mark.mongodb)])
def catalog_address(request, tmp_path):
    """Where the one catalog of this test is."""
    if request.param == "sqlite":
        return f"sqlite:{tmp_path / 'catalog.sqlite'}"
    return address_of(request.getfixturevalue("mongo_database"))


@pytest.fixture
def open_catalog(catalog_address):
    """Open the catalog; each call is another process's view of it."""
    opened = []

    def open_one():
        opened.append(open_at(catalog_address))
        return opened[-1]

    yield open_one
    for catalog in opened:
        catalog.close()


@pytest.fixture
def catalog(open_catalog):
    return open_catalog()


@pytest.fixture
def image_with():
    """Make what a pull found out, with some fields set."""

    def make(**changes):
        return dataclasses.replace(IMAGE, **changes)

    return make


@pytest.fixture
def mongo_catalog(mongo_database):
    """The gateway's view of a database of MongoDB."""
    catalog = open_at(address_of(mongo_database))
    yield catalog
    catalog.close()


@pytest.fixture
def documents(mongo_database):
    """What the same database holds, as another program sees it."""
    with pymongo.MongoClient(mongo_database.uri) as client:
        yield client[mongo_database.name]


@pytest.fixture
def original(documents):
    """A database of the original's, with all that was recorded."""
    for name, found in recorded().items():
        documents[name].insert_many(found)
    return documents
