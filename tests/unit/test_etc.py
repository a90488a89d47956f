# SPDX-License-Identifier: BSD-3-Clause
"""The example configuration is real: every key that it shows exists, and every key is explained."""

from __future__ import annotations

import ast
import inspect
import logging
import re
from pathlib import Path

import shifter_imagegw.config
import shifter_runtime.config

ETC = Path(__file__).parents[2] / "etc"
EXAMPLE = (ETC / "udiRoot.conf.example").read_text()

# Keys of the original that are accepted so that old files work; nobody should write them anew.
KEPT_FOR_OLD_FILES = {"PullUpdateTime", "MongoDBURI", "Broker"}


def test_udi_root_example_is_understood_as_it_stands():
    config = shifter_runtime.config.parse(EXAMPLE, "example")

    assert config.warnings == []
    assert config.image_gateway == ["http://gateway.example.org:5000"]


def test_lines_commented_out_in_the_udi_root_example_are_understood_too():
    uncommented = re.sub(r"(?m)^#(\w+ = )", r"\1", EXAMPLE)

    config = shifter_runtime.config.parse(uncommented, "example")

    assert config.warnings == []
    assert config.users_to_import == ["alice", "bob"]


def test_gateway_example_is_understood(caplog):
    with caplog.at_level(logging.WARNING):
        config = shifter_imagegw.config.load(ETC / "imagemanager.json.example")

    assert caplog.messages == []
    assert config.default_location == "docker.io"


def test_both_examples_are_about_one_place():
    runtime = shifter_runtime.config.parse(EXAMPLE, "example")
    gateway = shifter_imagegw.config.load(ETC / "imagemanager.json.example")

    assert runtime.image_path == str(gateway.systems[runtime.system].image_dir)


def test_readme_explains_each_key_of_the_gateway_and_no_other():
    explained = {
        key.rpartition(".")[2]
        for key in re.findall(r"(?m)^\| `([\w.*]+)` \|", (ETC / "README.md").read_text())
    }

    assert explained == keys_read_by(shifter_imagegw.config) - KEPT_FOR_OLD_FILES


def keys_read_by(module):
    """The keys that a module takes from its `Fields`, by itself or through a function."""
    keys = {
        argument.value
        for call in ast.walk(ast.parse(inspect.getsource(module)))
        if isinstance(call, ast.Call) and "fields" in names_around(call)
        for argument in call.args[:2]
        if isinstance(argument, ast.Constant) and str(argument.value).isidentifier()
    }
    return keys - {"local"}  # a section, of which imageDir is the only key


def names_around(call):
    receiver = getattr(call.func, "value", None)
    return {node.id for node in (receiver, *call.args[:1]) if isinstance(node, ast.Name)}
