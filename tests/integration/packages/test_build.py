# SPDX-License-Identifier: BSD-3-Clause
"""packaging/build: the same bytes from the same sources, and nothing forgotten."""

from __future__ import annotations

import hashlib
import re
import shutil
import subprocess

import pytest

from tests.integration.packages.conftest import PACKAGES, build
from tests.integration.packages.machine import ROOT

# It chooses no user: building needs no root. The first build is that of all tests of packages.
pytestmark = pytest.mark.root


@pytest.fixture(scope="module")
def other_checkout(tmp_path_factory):
    """The same sources where the path is another, with other times and a umask's other modes."""
    target = tmp_path_factory.mktemp("another place") / "two words"
    unwanted = (".git", ".venv*", ".openssh", ".mypy_cache", ".ruff_cache", ".hypothesis")
    ignore = shutil.ignore_patterns(*unwanted, "__pycache__", "tests", "*.egg-info")
    shutil.copytree(ROOT, target, ignore=ignore, copy_function=shutil.copy)
    return target


def test_two_checkouts_make_the_same_packages(built, other_checkout, tmp_path):
    build(other_checkout, "deb", "rpm", "--into", tmp_path)

    made = sorted(path.name for path in tmp_path.iterdir())
    assert len(made) == 2 * len(PACKAGES[:-1])  # OpenSSH takes minutes
    assert [
        name for name in made if digest(tmp_path / name) != digest(built.directory / name)
    ] == []


def digest(path):
    return hashlib.sha256(path.read_bytes()).hexdigest()


def test_the_digests_that_are_printed_are_those_of_launcher_and_packages(built):
    printed = dict(re.findall(r"(?m)^([0-9a-f]{64})  (.*)$", built.said))

    assert printed.pop(digest(built.stage / "usr/bin/shifter")) == "the launcher"
    assert len(printed) == 2 * len(PACKAGES)
    assert all(
        digest(built.directory / name.rpartition("/")[2]) == sha for sha, name in printed.items()
    )


def test_a_launcher_made_by_hand_is_the_one_in_the_package(built, tmp_path):
    places = ("PREFIX=/usr", "SYSCONFDIR=/etc/shifter")
    launcher = ROOT / "shifter_runtime/launcher"

    subprocess.run(["make", "-s", "-C", launcher, f"O={tmp_path}", *places], check=True)

    assert digest(tmp_path / "shifter") == digest(built.stage / "usr/bin/shifter")


def test_nothing_that_is_packed_names_the_place_where_it_was_made(built):
    # OpenSSH, which is built by other hands, names its sources in messages.
    words = [
        "grep",
        "-rlF",
        "--exclude-dir=udiImage",
        "-e",
        str(ROOT),
        "-e",
        str(built.stage),
        "-e",
        "/tmp/shifter-",
    ]

    done = subprocess.run([*words, built.stage], capture_output=True, text=True, check=False)

    assert done.stdout == ""


def test_all_modules_and_data_files_of_the_checkout_are_packed(built):
    (client,) = built.stage.glob("usr/lib/shifter-client/lib/*/site-packages")
    (gateway,) = built.stage.glob("usr/lib/shifter-imagegw/lib/*/site-packages")

    for package, site in (("shifter_cli", client), ("shifter_imagegw", gateway)):
        sources = {
            path.relative_to(ROOT)
            for path in (ROOT / package).rglob("*")
            if path.is_file() and "__pycache__" not in path.parts
        }
        assert {path for path in sources if not (site / path).exists()} == set()


def test_a_file_that_is_in_no_package_is_named(built, tmp_path):
    stage = tmp_path / "stage"
    shutil.copytree(built.stage, stage, symlinks=True)
    (stage / "usr/bin/new-program").write_text("#!/bin/sh\n")

    done = subprocess.run(
        [ROOT / "packaging/build", "deb", "--into", tmp_path / "out", "--stage", stage],
        capture_output=True, text=True, check=False,
    )  # fmt: skip

    assert done.returncode == 1
    assert "/usr/bin/new-program: in no package" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_directory_with_other_files_is_no_stage(tmp_path):
    (tmp_path / "mine").write_text("mine\n")

    done = subprocess.run(
        [ROOT / "packaging/build", "deb", "--into", tmp_path / "out", "--stage", tmp_path],
        capture_output=True, text=True, check=False,
    )  # fmt: skip

    assert done.returncode == 1
    assert f"{tmp_path} holds 'mine': --stage is for a new directory" in done.stderr
    assert {path.name for path in tmp_path.iterdir()} == {"mine"}


def test_licences_of_what_is_carried_are_listed(built):
    listed = (built.stage / "usr/share/doc/shifter-imagegw/copyright").read_text()
    pinned = (ROOT / "packaging/requirements-gateway.txt").read_text()

    names = re.findall(r"(?m)^([a-z0-9-]+)==([0-9.]+[^ ]*) \\$", pinned)
    assert len(names) > 20
    spelled = listed.lower().replace("_", "-")
    assert [name for name, version in names if f"{name} {version}: " not in spelled] == []
    assert "unknown" not in spelled
