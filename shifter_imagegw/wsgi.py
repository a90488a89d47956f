# SPDX-License-Identifier: BSD-3-Clause
"""For a WSGI server: `gunicorn shifter_imagegw.wsgi:application`, configured by $GWCONFIG.

It may be loaded before the server forks, or after.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from flask import Flask

from shifter_imagegw import config as configuration
from shifter_imagegw.commands.processes import make_app
from shifter_imagegw.credentials import sealer_of
from shifter_imagegw.operation import logs

_PRIVATE = 0o077  # as for each process of the gateway, whoever makes a directory first


def make(environment: Mapping[str, str]) -> Flask:
    config = configuration.load(Path(environment.get("GWCONFIG", configuration.CONFIG_FILE)))
    logs.configure(config, "api")
    os.umask(_PRIVATE)
    return make_app(config, sealer_of(config, environment), embedded=False)


application = make(os.environ)
