# SPDX-License-Identifier: BSD-3-Clause
"""Help and version, which everybody can ask for on any node, whatever is wrong with it."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest

import shifter_runtime
from tests.integration.runtime.node import ALICE

pytestmark = pytest.mark.root

ROOT = Path(__file__).parents[3]


@pytest.fixture(params=["usable", "nonsense", "forged", "missing"])
def configured(request, node):
    """The node with udiRoot.conf in every state."""
    if request.param == "nonsense":
        node.config.write_text("udiMount\nmaxGroupCount = many\n")
    elif request.param == "forged":
        node.config.chmod(0o666)
    elif request.param == "missing":
        node.config.unlink()
    yield node
    node.configure()
    node.config.chmod(0o644)


def test_the_version_is_written_in_one_place():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())

    assert "version" in project["project"]["dynamic"]
    assert project["tool"]["setuptools"]["dynamic"]["version"] == {
        "attr": "shifter_runtime.VERSION"
    }


@pytest.mark.parametrize("words", [["--version"], ["--version", "--nope"], ["-v", "--version"]])
def test_shifter_tells_its_version(configured, words):
    done = configured.run(*words, image=None)

    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == f"shifter {shifter_runtime.VERSION}\n"


def test_shifter_helps(configured):
    done = configured.run("--help", image=None)

    assert (done.returncode, done.stderr) == (0, "")
    assert "Order of precedence" in done.stdout


@pytest.mark.parametrize("words", [["true"], ["--nope", "--help"], ["sh", "--version"], []])
def test_a_question_is_one_only_where_shifter_is_asked(node, words):
    node.config.write_text("maxGroupCount = many\n")

    done = node.run(*words, image=None)

    assert done.returncode == 1
    assert "maxGroupCount" in done.stderr


@pytest.mark.parametrize(
    "program", ["setupRoot", "unsetupRoot", "shifter-prologue", "shifter-epilogue"]
)
@pytest.mark.parametrize("user", [0, ALICE])
def test_roots_programs_tell_their_version(batch, program, user):
    done = batch.run(batch.node.prefix / "sbin" / program, "--version", user=user)

    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == f"{program} (Shifter) {shifter_runtime.VERSION}\n"
