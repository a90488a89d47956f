# SPDX-License-Identifier: BSD-3-Clause
"""Catalogs for tests by address: `sqlite:PATH`, or `mongodb://HOST:PORT/DATABASE`.

An address is a text, so that it can be handed to programs; `settings_of` is what an
imagemanager.json says for it.
"""

from __future__ import annotations

import ast
import re
from pathlib import Path
from typing import Any

from bson import ObjectId

from shifter_imagegw.catalog import Catalog
from tests.mongodb import MongoDatabase

_GOLDEN = Path(__file__).parent / "golden/store_records.txt"


def recorded() -> dict[str, list[dict[str, Any]]]:
    """What a gateway of the original had in its database, by collection."""
    text = re.sub(r"ObjectId\('(\w+)'\)", r"'\1'", _GOLDEN.read_text())
    database: dict[str, list[dict[str, Any]]] = ast.literal_eval(text)
    for documents in database.values():
        for document in documents:
            document["_id"] = ObjectId(document["_id"])
    return database


def address_of(database: MongoDatabase) -> str:
    return f"{database.uri}{database.name}"


def open_at(address: str) -> Catalog:
    """Open a catalog; each call is another process's view of it."""
    if address.startswith("sqlite:"):
        from shifter_imagegw.catalog.sqlite import SqliteCatalog

        return SqliteCatalog(Path(address.removeprefix("sqlite:")))
    from shifter_imagegw.catalog.mongo import MongoCatalog

    settings = settings_of(address)
    return MongoCatalog(settings["MongoDBURI"], settings["MongoDB"])


def settings_of(address: str) -> dict[str, str]:
    """The keys of imagemanager.json that mean this catalog."""
    if address.startswith("sqlite:"):
        return {"CatalogPath": address.removeprefix("sqlite:")}
    server, _, name = address.rpartition("/")
    return {"MongoDBURI": f"{server}/", "MongoDB": name}
