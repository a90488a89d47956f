# SPDX-License-Identifier: BSD-3-Clause
"""For a WSGI server: `gunicorn shifter_imagegw.wsgi:application`, configured by $GWCONFIG."""

from __future__ import annotations

import logging
import os
from pathlib import Path

from flask import Flask

from shifter_imagegw import config as configuration
from shifter_imagegw.app import create_app
from shifter_imagegw.catalog.sqlite import SqliteCatalog
from shifter_imagegw.credentials import KEY_VARIABLE, Sealer, new_key

_CONFIG_FILE = "/etc/shifter/imagemanager.json"


def make(environment: os._Environ[str]) -> Flask:
    config = configuration.load(Path(environment.get("GWCONFIG", _CONFIG_FILE)))
    logging.basicConfig(level=config.log_level)
    # Without a key that workers share they fail pulls that need credentials, and say so.
    sealer = Sealer(environment.get(KEY_VARIABLE) or new_key())
    return create_app(config, SqliteCatalog(config.catalog_path), sealer)


application = make(os.environ)
