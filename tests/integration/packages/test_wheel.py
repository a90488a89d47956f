# SPDX-License-Identifier: BSD-3-Clause
"""What `pip install` gets: a source release that builds, and a wheel with every file in it."""

from __future__ import annotations

import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

from tests.integration.packages.machine import ROOT

PACKAGES = ("shifter_cli", "shifter_common", "shifter_imagegw", "shifter_runtime")


@pytest.fixture(scope="module")
def release(tmp_path_factory):
    """The directory of the source release and of the wheel that was made of it."""
    directory = tmp_path_factory.mktemp("release")
    done = subprocess.run(
        [sys.executable, "-m", "build", "--outdir", directory, ROOT],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    return directory


@pytest.fixture(scope="module")
def environment(release, tmp_path_factory):
    """A fresh environment into which pip has put the wheel, and what it depends on."""
    directory = tmp_path_factory.mktemp("environment")
    subprocess.run(["/usr/bin/python3", "-I", "-m", "venv", directory], check=True)
    quiet = ("--quiet", "--disable-pip-version-check", "--root-user-action=ignore")
    (wheel,) = release.glob("*.whl")
    subprocess.run([directory / "bin/pip", "install", *quiet, wheel], check=True)
    return directory


def files_of_the_checkout():
    """Those of our packages, but for the launcher, which is no matter of Python's."""
    return {
        str(path.relative_to(ROOT))
        for package in PACKAGES
        for path in (ROOT / package).rglob("*")
        if path.is_file() and not {"__pycache__", "launcher"} & set(path.parts)
    }


def test_every_module_and_data_file_is_in_the_wheel(release):
    (wheel,) = release.glob("*.whl")

    with zipfile.ZipFile(wheel) as archive:
        packed = {name for name in archive.namelist() if ".dist-info/" not in name}

    assert packed == files_of_the_checkout()


def test_the_source_release_has_all_that_installing_and_packaging_take(release):
    (source,) = release.glob("*.tar.gz")

    with tarfile.open(source) as archive:
        packed = {name.partition("/")[2] for name in archive.getnames()}

    needed = {"install", "quickstart", "check", "packaging/build", "packaging/packages.toml"}
    needed |= {"slurm_spank/Makefile", "shifter_runtime/launcher/shifter.c", "tools/shell.sh"}
    needed |= {str(path.relative_to(ROOT)) for path in (ROOT / "etc").rglob("*")}
    assert needed | files_of_the_checkout() <= packed
    assert not [name for name in packed if name.endswith((".pyc", ".o", ".so"))]


@pytest.mark.parametrize("command", ["shifterimg", "shifter-admin", "shifter-gateway"])
def test_a_command_of_the_wheel_answers(environment, command):
    done = run(environment, command, "--help")

    assert done.returncode == 0
    assert done.stdout.startswith(f"Usage: {command} ")


def test_commands_of_the_wheel_look_for_their_configuration_in_etc(environment):
    client = run(environment, "shifterimg", "images")
    gateway = run(environment, "shifter-gateway", "config", "check")

    assert "/etc/shifter/udiRoot.conf" in client.stdout
    assert "/etc/shifter/imagemanager.json" in gateway.stdout


def test_the_gateway_takes_another_configuration_from_the_environment(environment, tmp_path):
    other = tmp_path / "imagemanager.json"

    done = run(environment, "shifter-gateway", "config", "check", env={"GWCONFIG": str(other)})

    assert done.returncode == 1
    assert str(other) in done.stdout


def run(environment: Path, command: str, *words: str, env: dict[str, str] | None = None):
    return subprocess.run(
        [environment / "bin" / command, *words],
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        text=True, check=False, env={"PATH": "/usr/bin:/bin"} | (env or {}), cwd="/",
    )  # fmt: skip
