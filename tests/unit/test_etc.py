# SPDX-License-Identifier: BSD-3-Clause
"""The example configuration is real: every key that it shows exists, and every key is explained."""

from __future__ import annotations

import ast
import json
import logging
import re
from pathlib import Path

import pytest

import shifter_imagegw.config
import shifter_runtime.config
from shifter_imagegw.config import AccessType, keys
from shifter_imagegw.errors import ConfigError
from tools import config_table

ETC = Path(__file__).parents[2] / "etc"
GATEWAY_EXAMPLES = ("imagemanager.json.example", "imagemanager.production.json.example")
EXAMPLE = (ETC / "udiRoot.conf.example").read_text()
README = (ETC / "README.md").read_text()

# Keys of the original that are accepted so that old files work; nobody should write them anew.
KEPT_FOR_OLD_FILES = {"PullUpdateTime"}

# Sections of which only the keys are explained.
SECTIONS = {"local", "ssh"}

# What modules of `shifter_imagegw.config` call the section that they read.
SECTION_NAMES = {"fields", "system", "ssh_fields", "local"}


@pytest.fixture
def everything_exists(monkeypatch):
    """Files that the examples name are on the site's hosts, not here."""
    monkeypatch.setattr(Path, "is_file", lambda _: True)


def test_udi_root_example_is_understood_as_it_stands():
    config = shifter_runtime.config.parse(EXAMPLE, "example")

    assert config.warnings == []
    assert config.image_gateway == ["http://gateway.example.org:5000"]


def test_lines_commented_out_in_the_udi_root_example_are_understood_too():
    uncommented = re.sub(r"(?m)^#(\w+ = )", r"\1", EXAMPLE)

    config = shifter_runtime.config.parse(uncommented, "example")

    assert config.warnings == []
    assert config.users_to_import == ["alice", "bob"]


def test_readme_s_tables_are_those_in_the_code():
    assert config_table.written(README) == README, "run: python3 tools/config_table.py"
    assert all(f"| `{key}` | " in README for key in shifter_runtime.config.KEYS)


@pytest.mark.parametrize("key", shifter_runtime.config.KEYS)
def test_each_key_has_a_type_and_a_meaning(key):
    _, read, _, meaning = shifter_runtime.config.KEYS[key]

    assert read.__doc__
    assert len(meaning) >= len("accepted, not used")
    assert "|" not in meaning + read.__doc__


def test_the_udi_root_example_shows_every_key_that_is_used():
    shown = set(re.findall(r"(?m)^#?(\w+) = ", EXAMPLE))

    used = {
        key
        for key, (*_, meaning) in shifter_runtime.config.KEYS.items()
        if not meaning.startswith("accepted, not used")
    }
    assert used - shown <= {"mkfsXfsPath"}  # found by itself


@pytest.mark.parametrize("name", GATEWAY_EXAMPLES)
def test_gateway_example_is_understood(caplog, name, everything_exists):
    with caplog.at_level(logging.WARNING):
        config = shifter_imagegw.config.load(ETC / name)

    assert caplog.messages == []
    assert config.default_location == "docker.io"


def test_the_embedded_example_needs_no_server_and_the_production_example_all_of_them(
    everything_exists,
):
    embedded, production = (shifter_imagegw.config.load(ETC / name) for name in GATEWAY_EXAMPLES)

    assert (embedded.mongodb, embedded.broker) == (None, None)
    assert production.mongodb is not None
    assert production.broker is not None
    assert production.key_file is not None
    assert {system.access_type for system in production.systems.values()} == set(AccessType)


def test_both_examples_are_about_one_place():
    runtime = shifter_runtime.config.parse(EXAMPLE, "example")
    gateway = shifter_imagegw.config.load(ETC / "imagemanager.json.example")

    assert runtime.image_path == str(gateway.systems[runtime.system].image_dir)


def test_each_key_that_the_gateway_reads_is_in_its_table_and_no_other():
    explained = {key.rpartition(".")[2] for key in keys.KEYS}

    assert explained == keys_read_by(shifter_imagegw.config) - KEPT_FOR_OLD_FILES


DEFAULTS = {
    key: json.loads(default) if re.fullmatch(r"\d+|true|false", default) else default
    for key, (_, default, _) in keys.KEYS.items()
    if default and default != keys.REQUIRED and not default.startswith("(")
}


def test_there_are_defaults_to_look_at():
    assert len(DEFAULTS) >= 15


@pytest.mark.parametrize("key", DEFAULTS)
def test_a_key_with_the_default_of_the_table_changes_nothing(key):
    assert read_with(key, DEFAULTS[key]) == read_with(key, None)


@pytest.mark.parametrize(
    "key", [key for key, (_, default, _) in keys.KEYS.items() if default == keys.REQUIRED]
)
def test_a_key_that_must_be_given_is_missed(key, caplog):
    with pytest.raises(ConfigError, match=key.rpartition(".")[2]):
        read_with(key, None)


def read_with(key, value):
    """The least that a file can say, with a value for one key, or (None) without it."""
    content = {
        "DefaultImageLocation": "hub",
        "DefaultImageFormat": "squashfs",
        "CacheDirectory": "/cache",
        "Locations": {"hub": {}},
        "Platforms": {"cluster": {"local": {"imageDir": "/images"}, "mungeSocketPath": "/munge"}},
    }
    if key.startswith("Platforms.*.ssh."):
        ssh = {"accesstype": "remote", "host": ["far"], "ssh": {"imageDir": "/images"}}
        content["Platforms"]["cluster"].update(ssh)
    section, names = content, key.split(".")
    for name in names[:-1]:
        section = next(iter(section.values())) if name == "*" else section[name]
    section.pop(names[-1], None)
    if value is not None:
        section[names[-1]] = value
    return shifter_imagegw.config.GatewayConfig.from_mapping(content)


def keys_read_by(package):
    """The keys that a package's modules take from `Fields`, by themselves or through a function."""
    return {
        argument.value
        for module in Path(package.__file__).parent.glob("*.py")
        for call in ast.walk(ast.parse(module.read_text()))
        if isinstance(call, ast.Call) and SECTION_NAMES & names_around(call)
        for argument in call.args[:2]
        if isinstance(argument, ast.Constant) and str(argument.value).isidentifier()
    } - SECTIONS


def names_around(call):
    receiver = getattr(call.func, "value", None)
    return {node.id for node in (receiver, *call.args[:1]) if isinstance(node, ast.Name)}
