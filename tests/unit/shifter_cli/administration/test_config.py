# SPDX-License-Identifier: BSD-3-Clause
from __future__ import annotations

import json

import pytest

from shifter_cli.administration import config_values


def values(tmp_path, text):
    path = tmp_path / "x.conf"
    path.write_text(
        "udiMount=/u\nloopMount=/l\nimagePath=/i\nudiRootPath=/r\npopulateEtcDynamically=1\n" + text
    )
    return {value.key: value for value in config_values.effective(str(path))}


def test_each_key_is_shown_with_what_it_comes_to(run):
    lines = run("config", "show").stdout.splitlines()

    assert "udiMount = /var/udiMount" in lines
    assert "hookTimeout = 60  (default)" in lines
    assert "optUdiImage =  (not set)" in lines


def test_only_what_is_set_can_be_shown(run):
    result = run("config", "show", "--set", "--json")

    shown = json.loads(result.stdout)
    assert shown["udiMount"] == "/var/udiMount"
    assert "hookTimeout" not in shown


def test_lists_add_up_and_modules_come_along(tmp_path):
    found = values(tmp_path, "siteEnv=A=1\nsiteEnv=B=2\nmodule_mpi_siteEnv=C=3\n")

    assert found["siteEnv"].text == "A=1 B=2"
    assert found["module_mpi_siteEnv"].text == "C=3"


def test_passwords_are_not_shown(tmp_path):
    text = "imageGateway=https://me:pass123@host:5000\nsystem=x\nsiteEnv=API_TOKEN=abc123 A=1\n"
    found = values(tmp_path, text)

    assert "pass123" not in found["imageGateway"].text
    assert found["imageGateway"].text.endswith("@host:5000")
    assert found["siteEnv"].text == "API_TOKEN=******** A=1"


def test_a_file_that_cannot_be_used_is_refused(run, tmp_path):
    (tmp_path / "bad.conf").write_text("udiMount = here\n")

    result = run("config", "show", "--file", str(tmp_path / "bad.conf"))

    assert (result.code, result.stdout) == (1, "")
    assert "line 1: udiMount must be an absolute path" in result.stderr


@pytest.mark.parametrize("command", ["check", "show"])
def test_the_gateway_s_file_is_left_to_its_program(run, gateway_program, tmp_path, command):
    gateway_program()

    result = run("config", command, "--gateway", "--json")

    answer = json.loads(result.stdout)
    assert answer["arguments"] == ["config", command, "--json"]
    assert answer["config"] == str(tmp_path / "imagemanager.json")
    assert result.code == 3


def test_a_host_without_a_gateway_is_said_to_be_none(run, tmp_path):
    result = run("config", "check", "--gateway")

    assert result.code == 1
    assert f"there is no {tmp_path}/imagemanager.json: this is for a host of the" in result.stderr


def test_a_host_without_the_program_is_told_how_to_get_it(run, tmp_path, monkeypatch):
    (tmp_path / "imagemanager.json").write_text("{}")
    monkeypatch.setattr("shutil.which", lambda *_, **__: None)

    assert (
        "install Shifter here without --runtime-only" in run("config", "show", "--gateway").stderr
    )
