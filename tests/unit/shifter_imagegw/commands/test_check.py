# SPDX-License-Identifier: BSD-3-Clause
from __future__ import annotations

import json
import os

import pytest
from click.testing import CliRunner

from shifter_imagegw.command import main
from shifter_imagegw.commands import check, own_account
from shifter_imagegw.registry.errors import RegistryUnreachableError


@pytest.fixture
def host(tmp_path, monkeypatch):
    """A gateway's host where all is well: Run `check --json`; changes of imagemanager.json."""
    monkeypatch.setattr(own_account, "become", lambda _: None)
    monkeypatch.setattr(os, "geteuid", lambda: 4711)
    monkeypatch.setattr(check, "is_served", lambda _: True)
    monkeypatch.setattr(check, "require_registry", lambda _: None)
    monkeypatch.setattr(check.shutil, "which", lambda name: f"/usr/bin/{name}")
    (tmp_path / "cache").mkdir()
    (tmp_path / "images").mkdir()

    def run(**changes):
        content = {
            "Authentication": "mock",
            "CacheDirectory": str(tmp_path / "cache"),
            "DefaultImageFormat": "squashfs",
            "DefaultImageLocation": "reg",
            "Locations": {"reg": {"url": "https://reg.example"}},
            "Platforms": {"one": {"local": {"imageDir": str(tmp_path / "images")}}},
        }
        path = tmp_path / "imagemanager.json"
        path.write_text(json.dumps(content | changes))
        result = CliRunner().invoke(main, ["check", "--json", "--config", str(path)])
        rows = json.loads(result.stdout)["matters"]
        return result.exit_code, {row["name"]: (row["state"], row["text"]) for row in rows}, rows

    return run


def test_a_host_that_has_all_it_needs_is_well(host):
    code, found, rows = host()

    assert (code, {row["state"] for row in rows}) == (0, {"ok"})
    assert found.keys() == {
        "file", "account", "catalog", "images.one", "gateway", "Locations.reg",
        "CacheDirectory", "imageDir of one", "tar2sqfs",
    }  # fmt: skip
    assert {row["group"] for row in rows} == {
        "imagemanager.json", "servers", "registries", "disks", "programs",
    }  # fmt: skip


def test_another_user_is_told_whose_sight_it_takes_to_see_more(host, monkeypatch):
    access = os.access
    monkeypatch.setattr(
        os, "access", lambda path, mode, **_: not str(path).endswith("cache") and access(path, mode)
    )

    code, found, _ = host()

    assert (code, found.keys()) == (0, {"account"})
    assert found["account"] == (
        "skipped", "only root and the gateway's account (root) can look at it: use sudo",
    )  # fmt: skip


def test_a_file_that_cannot_be_used_ends_it(host):
    code, found, _ = host(Platforms={})

    assert code == 1
    assert found.keys() == {"file"}
    assert "Platforms names no system" in found["file"][1]


def test_unknown_keys_are_warnings(host):
    code, _, rows = host(Metricz=True)

    assert code == 2
    assert any(row["state"] == "warning" and "'Metricz'" in row["text"] for row in rows)


def test_a_registry_that_does_not_answer_is_wrong(host, monkeypatch):
    def away(_):
        raise RegistryUnreachableError("reg.example cannot be reached")

    monkeypatch.setattr(check, "require_registry", away)

    code, found, _ = host()

    state, text = found["Locations.reg"]
    assert (code, state) == (1, "wrong")
    assert text.startswith("reg.example cannot be reached: look after network")


def test_a_program_that_is_missing_is_named_with_its_package(host, monkeypatch):
    monkeypatch.setattr(check.shutil, "which", lambda _: None)

    _, found, _ = host(ImportUsers="all")

    assert found["tar2sqfs"] == ("wrong", "is missing: install the package squashfs-tools-ng")
    assert found["unsquashfs"][0] == "wrong"


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"f_bavail": 10}, "expire images, or lower CacheSize"),
        ({"f_favail": 3}, "3 inodes of 1000: remove files"),
    ],
)
def test_a_disk_that_gets_full_is_a_warning(host, monkeypatch, changes, words):
    usual = {"f_frsize": 1 << 20, "f_bavail": 900, "f_blocks": 1000, "f_files": 1000}
    found = type("Found", (), usual | {"f_favail": 900} | changes)
    monkeypatch.setattr(os, "statvfs", lambda _: found)

    code, matters, _ = host()

    assert (code, matters["CacheDirectory"][0]) == (2, "warning")
    assert words in matters["CacheDirectory"][1]


def test_a_gateway_that_does_not_run_is_missed(host, monkeypatch):
    monkeypatch.setattr(check, "is_served", lambda _: False)

    _, found, _ = host()

    assert found["gateway"][0] == "warning"


def test_a_directory_that_is_not_there_is_missed(host, tmp_path):
    (tmp_path / "images").rmdir()

    code, found, _ = host()

    assert code == 1
    assert found["images.one"][0] == found["imageDir of one"][0] == "wrong"


def test_root_is_told_that_it_is_not_needed(host, monkeypatch):
    monkeypatch.setattr(os, "geteuid", lambda: 0)

    _, found, _ = host()

    assert found["account"][0] == "warning"
