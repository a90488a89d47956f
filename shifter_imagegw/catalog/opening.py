# SPDX-License-Identifier: BSD-3-Clause
"""Which catalog a configuration means."""

from __future__ import annotations

from shifter_imagegw.catalog import Catalog
from shifter_imagegw.config import GatewayConfig


def open_catalog(config: GatewayConfig) -> Catalog:
    """Open the site's MongoDB, or else the SQLite file; a process that forks opens its own."""
    if config.mongodb is not None:
        # Here, because pymongo takes a tenth of a second to import.
        from shifter_imagegw.catalog.mongo import MongoCatalog

        return MongoCatalog(config.mongodb.uri, config.mongodb.database)
    from shifter_imagegw.catalog.sqlite import SqliteCatalog

    return SqliteCatalog(config.catalog_path)
