# SPDX-License-Identifier: BSD-3-Clause
from __future__ import annotations

import importlib
import json
import os
import sys

import pytest

from shifter_imagegw.catalog import sqlite
from shifter_imagegw.errors import ConfigError


@pytest.fixture
def served(monkeypatch):
    """What `gunicorn shifter_imagegw.wsgi:application` would serve with that GWCONFIG."""
    opened = []
    before = os.umask(0)
    monkeypatch.setattr(sqlite, "SqliteFile", recording(sqlite.SqliteFile, opened))

    def serve(path):
        monkeypatch.setenv("GWCONFIG", str(path))
        monkeypatch.delitem(sys.modules, "shifter_imagegw.wsgi", raising=False)
        return importlib.import_module("shifter_imagegw.wsgi").application

    yield serve
    os.umask(before)
    for file in opened:
        file.close()


def recording(make, made):
    """The same as `make`, with everything it makes kept in `made`."""

    def make_and_record(*arguments):
        made.append(make(*arguments))
        return made[-1]

    return make_and_record


def written(directory):
    path = directory / "imagemanager.json"
    path.write_text(
        json.dumps(
            {
                "Authentication": "mock",
                "CacheDirectory": str(directory),
                "DefaultImageFormat": "squashfs",
                "DefaultImageLocation": "reg",
                "Locations": {"reg": {}},
                "Platforms": {"cori": {"imageDir": "/i"}},
            }
        )
    )
    return path


def test_the_application_has_the_name_that_old_units_start(served, tmp_path):
    application = served(written(tmp_path))

    assert importlib.import_module("shifter_imagegw.api").app is application


def test_the_application_is_the_one_that_gwconfig_names(tmp_path, served):
    client = served(written(tmp_path)).test_client()

    headers = {"authentication": "good:root:root"}
    assert client.get("/api/list/cori/", headers=headers).json == {"list": []}
    assert client.get("/api/health/").status_code == 200


def test_what_the_server_writes_is_its_own_alone(tmp_path, served):
    served(written(tmp_path))

    (tmp_path / "new").touch(0o666)

    assert (tmp_path / "new").stat().st_mode & 0o777 == 0o600


def test_a_configuration_that_is_wrong_stops_the_server(tmp_path, served):
    with pytest.raises(ConfigError, match="cannot read"):
        served(tmp_path / "none.json")
