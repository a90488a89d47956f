# SPDX-License-Identifier: BSD-3-Clause
"""The packages' lists of releases have all that our modules import."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGING = ROOT / "packaging"
OURS = ("shifter_cli", "shifter_common", "shifter_imagegw", "shifter_runtime")
DISTRIBUTIONS = {"elftools": "pyelftools", "bson": "pymongo"}  # where its name is another one


def imported(*packages: str) -> set[str]:
    """What these packages import that neither Python nor Shifter has."""
    found = set()
    for package in packages:
        for path in (ROOT / package).rglob("*.py"):
            for node in ast.walk(ast.parse(path.read_text())):
                if isinstance(node, ast.Import):
                    found |= {alias.name.partition(".")[0] for alias in node.names}
                elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
                    found.add(node.module.partition(".")[0])
    found -= {*OURS, *sys.stdlib_module_names, "_typeshed"}
    return {DISTRIBUTIONS.get(name, name) for name in found}


def pinned(kind: str) -> set[str]:
    return set(
        re.findall(r"(?m)^([a-z0-9-]+)==", (PACKAGING / f"requirements-{kind}.txt").read_text())
    )


@pytest.mark.parametrize(
    ("kind", "packages"),
    [
        ("client", ("shifter_cli", "shifter_common", "shifter_runtime")),
        ("gateway", ("shifter_common", "shifter_imagegw", "shifter_runtime")),
    ],
)
def test_an_environment_has_what_its_modules_import(kind, packages):
    needed = imported(*packages)

    assert needed
    assert needed - pinned(kind) == set(), "run packaging/pin"


def test_clients_carry_nothing_that_they_do_not_import():
    wanted = (PACKAGING / "requirements-client.in").read_text()
    names = {line for line in wanted.splitlines() if line and not line.startswith("#")}

    assert names == imported("shifter_cli", "shifter_common")


def test_all_that_pyproject_asks_for_is_pinned():
    wanted = (ROOT / "pyproject.toml").read_text()
    wanted = wanted.partition("dependencies = [")[2].partition("]\n")[0]
    names = {re.split("[^a-z0-9-]", name)[0] for name in re.findall(r'(?m)^    "([^"]+)"', wanted)}

    assert names
    assert names - pinned("client") - pinned("gateway") == set(), "run packaging/pin"


def test_root_makes_nothing_where_the_gateways_account_can_leave_links(tmp_path):
    calls, programs = tmp_path / "calls", tmp_path / "bin"
    programs.mkdir()
    for name in ("getent", "install", "mkdir", "runuser", "systemctl", "useradd"):
        (programs / name).write_text(f'#!/bin/sh\necho {name} "$@" >>{calls}\n')
        (programs / name).chmod(0o755)
    script = (PACKAGING / "scripts/shifter-imagegw").read_text()
    script = script.replace("/var/lib/shifter", "$PLACE").replace("/run/systemd", "/nonexistent")

    subprocess.run(
        ["/bin/sh", "-ec", f"{script}\nafter_install first"], check=True,
        env={"PATH": f"{programs}:/usr/bin:/bin", "PLACE": "/nonexistent/shifter"},
    )  # fmt: skip

    made = [line for line in calls.read_text().splitlines() if "/nonexistent/shifter" in line]
    assert made == [
        "install -d -o shifter -g shifter -m 0755 /nonexistent/shifter",
        *(
            f"runuser -u shifter -- mkdir -m {mode} /nonexistent/shifter/{name}"
            for name, mode in (("images", "0755"), ("cache", "0700"), ("expand", "0700"))
        ),
    ]
