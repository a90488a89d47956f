# SPDX-License-Identifier: BSD-3-Clause
from __future__ import annotations

import json

from click.testing import CliRunner

from shifter_imagegw.command import main

CONTENT = {
    "Authentication": "mock",
    "CacheDirectory": "/srv/cache",
    "DefaultImageFormat": "squashfs",
    "DefaultImageLocation": "reg",
    "MongoDBURI": "mongodb://shifter:s3cret@db/",
    "MongoDB": "Shifter",
    "Broker": "redis://:s3cret@db/0",
    "Locations": {"reg": {"url": "https://reg.example"}},
    "Platforms": {"one": {"local": {"imageDir": "/images"}, "admins": ["root"]}},
}


def show(tmp_path, *options, **changes):
    path = tmp_path / "imagemanager.json"
    path.write_text(json.dumps(CONTENT | changes))
    return CliRunner().invoke(main, ["config", "show", "--config", str(path), *options])


def test_values_and_defaults_are_shown_in_the_order_of_the_reference(tmp_path):
    lines = show(tmp_path).stdout.splitlines()

    assert lines[0] == "Locations.reg.url = https://reg.example"
    assert 'Platforms.one.admins = ["root"]' in lines
    assert "CatalogPath = catalog.sqlite in CacheDirectory  (default)" in lines
    assert "CacheSize = 200G  (default)" in lines


def test_no_password_is_shown(tmp_path):
    result = show(tmp_path)

    assert "s3cret" not in result.output
    assert "MongoDBURI = mongodb://***@db/" in result.stdout


def test_keys_of_a_section_that_is_not_there_are_left_out(tmp_path):
    assert "Platforms.one.ssh." not in show(tmp_path).stdout


def test_what_the_file_says_can_be_had_alone_for_programs(tmp_path):
    shown = json.loads(show(tmp_path, "--set", "--json").stdout)

    assert shown["Platforms.one.local.imageDir"] == "/images"
    assert "CacheSize" not in shown


def test_a_file_that_cannot_be_used_is_refused(tmp_path):
    result = show(tmp_path, Platforms={})

    assert result.exit_code == 1
    assert "Platforms names no system" in result.output
