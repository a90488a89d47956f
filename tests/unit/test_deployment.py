# SPDX-License-Identifier: BSD-3-Clause
"""Units and containers start what exists, with options that exist, and with no more than needed."""

from __future__ import annotations

import logging
import re
import shlex
import subprocess
from fnmatch import fnmatch
from pathlib import Path, PurePath

import click
import pytest
import yaml
from celery.bin.celery import celery as celery_command

import shifter_imagegw.config
from shifter_imagegw.command import main as gateway_command
from tools import completions

ROOT = Path(__file__).parents[2]
UNITS = sorted((ROOT / "etc/systemd").glob("*.service"))
COMPOSE = yaml.safe_load((ROOT / "docker/compose.yaml").read_text())
DOCKERFILE = (ROOT / "docker/Dockerfile.gateway").read_text()
GATEWAY_SERVICES = ("api", "worker-mycluster")


def settings_of(unit):
    """The keys of a unit, each with all its values."""
    found: dict[str, list[str]] = {}
    for line in unit.read_text().splitlines():
        key, separator, value = line.partition("=")
        if separator and not line.startswith("#"):
            found.setdefault(key, []).append(value)
    return found


def commands_of(unit):
    settings = settings_of(unit)
    return [
        shlex.split(line) for key in ("ExecStartPre", "ExecStart") for line in settings.get(key, ())
    ]


ALL_COMMANDS = [
    *(command for unit in UNITS for command in commands_of(unit)),
    *(COMPOSE["services"][name]["command"] for name in GATEWAY_SERVICES),
    yaml.safe_load(re.findall(r"(?m)^CMD (.*)$", DOCKERFILE)[0]),
]


@pytest.mark.parametrize("command", ALL_COMMANDS, ids=" ".join)
def test_what_is_started_takes_these_options(command, monkeypatch):
    monkeypatch.setenv("GWCONFIG", "/etc/shifter/imagemanager.json")
    program, *arguments = command

    if Path(program).name == "celery":
        require_celery_options(arguments)
    else:
        assert Path(program).name == "shifter-gateway"
        parse(gateway_command, arguments)


def parse(command, arguments):
    """Have click read a command line, and do nothing."""
    while isinstance(command, click.Group):
        name, *arguments = arguments
        command = command.commands[name]
    command.make_context(command.name, arguments)


def require_celery_options(arguments):
    assert arguments[:4] == ["-q", "-A", "shifter_imagegw.celery_app", "worker"]
    known = {name for option in celery_command.commands["worker"].params for name in option.opts}

    options = [argument for argument in arguments[4:] if argument.startswith("-")]

    assert {"-Q", "-n"} <= set(options) <= known


@pytest.mark.parametrize("unit", UNITS, ids=lambda unit: unit.name)
def test_a_unit_has_no_privilege_and_time_to_hand_work_back(unit):
    settings = {key: values[-1] for key, values in settings_of(unit).items()}

    assert settings["User"] == settings["Group"] == "shifter"
    assert settings["NoNewPrivileges"] == "yes"
    assert settings["CapabilityBoundingSet"] == settings["AmbientCapabilities"] == ""
    assert settings["ProtectSystem"] == "strict"
    assert settings["UMask"] == "0077"
    assert settings["KillMode"] == "mixed"
    assert int(settings["TimeoutStopSec"]) >= 20
    # The whole of /proc that names of workers are made of (process_names.py).
    assert "ProcSubset" not in settings
    assert "PrivatePIDs" not in settings


def test_all_units_are_fenced_in_alike():
    fences = [
        unit.read_text().partition("NoNewPrivileges")[2].partition("[Install]")[0] for unit in UNITS
    ]

    assert len(fences) == 3
    assert len(set(fences)) == 1


def test_the_composed_gateway_has_a_configuration_that_fits(caplog):
    with caplog.at_level(logging.WARNING):
        config = shifter_imagegw.config.load(ROOT / "docker/imagemanager.json")

    worker = COMPOSE["services"]["worker-mycluster"]["command"]
    places = [
        volume.removesuffix(":ro").rpartition(":")[2]
        for volume in COMPOSE["services"]["api"]["volumes"]
    ]
    assert caplog.messages == []
    assert config.mongodb is not None
    assert f"//{next(iter(COMPOSE['services']))}:" in config.mongodb.uri
    assert config.broker == "redis://redis:6379/0"
    assert worker[worker.index("-Q") + 1] in config.systems
    system = config.systems["mycluster"]
    assert system.munge_socket is not None
    for path in (system.image_dir, system.munge_socket, config.cache_directory):
        assert any(path.is_relative_to(place) for place in places), path


@pytest.mark.parametrize("name", GATEWAY_SERVICES)
def test_a_container_of_the_gateway_has_no_privilege(name):
    service = COMPOSE["services"][name]

    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert service["depends_on"].keys() == {"mongodb", "redis"}
    assert re.search(r"(?m)^USER shifter$", DOCKERFILE)


def test_volumes_and_services_that_are_named_exist():
    services, volumes = COMPOSE["services"], COMPOSE["volumes"]
    named = {
        volume.partition(":")[0]
        for service in services.values()
        for volume in service["volumes"]
        if volume[0] not in "./$"
    }

    assert named == volumes.keys()
    assert all(
        needed in services
        for service in services.values()
        for needed in service.get("depends_on", ())
    )


@pytest.mark.parametrize("name", ["Dockerfile.box", "Dockerfile.gateway"])
def test_what_is_copied_into_an_image_is_in_the_checkout_and_not_ignored(name):
    sources = [
        source
        for line in re.findall(r"(?m)^COPY (?!--from)(.*)$", (ROOT / "docker" / name).read_text())
        for source in line.split()[:-1]
        if source != "."
    ]
    ignored = (ROOT / ".dockerignore").read_text().splitlines()
    kept = [line.removeprefix("!") for line in ignored if line.startswith("!")]

    assert sources
    for source in sources:
        assert (ROOT / source).exists()
        assert any(
            PurePath(source).is_relative_to(place) or fnmatch(source, place) for place in kept
        )


def test_the_image_has_the_packages_that_install_asks_for():
    installed = set(re.findall(r"[a-z0-9-]+", DOCKERFILE))
    wanted = re.findall(r"packages\+?=\(([^)]*)\)", (ROOT / "install").read_text())

    building = {"gcc", "libc6-dev", "make"}
    assert {name for names in wanted for name in names.split()} - building <= installed


def test_quickstart_removes_its_pages_and_nothing_else_below_its_prefix(tmp_path):
    functions = re.findall(
        r"(?ms)^(?:remove|our)_pages\(\) \{.*?^\}", (ROOT / "quickstart").read_text()
    )
    remove = "\n".join([*functions, "prefix=$1", "remove_pages"])
    share = tmp_path / "prefix/share"
    ours = completions.write(share)
    pages = (
        "man1/shifter.1",
        "man1/shifterimg.1",
        "man5/udiRoot.conf.5",
        "man5/imagemanager.json.5",
    )
    tools = ("setupRoot", "unsetupRoot", "shifter-admin", "shifter-gateway", "shifter-prologue")
    pages = (*pages, *(f"man8/{name}.8" for name in (*tools, "shifter-epilogue")))
    others = ("doc/shifter-notes.txt", "man/man1/shifter-of-gears.1", "zsh/site-functions/_x")
    for name in (*(f"man/{page}" for page in pages), *others):
        (share / name).parent.mkdir(parents=True, exist_ok=True)
        (share / name).touch()
    (share / "fonts").mkdir()

    for _ in range(2):
        subprocess.run(
            ["bash", "-euo", "pipefail", "-c", remove, "-", tmp_path / "prefix"], check=True
        )

    assert ours
    left = {str(path.relative_to(share)) for path in share.rglob("*") if not path.is_dir()}
    assert left == set(others)
    assert (share / "fonts").is_dir()
    assert not (share / "fish").exists()
