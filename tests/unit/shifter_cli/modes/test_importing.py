# SPDX-License-Identifier: BSD-3-Clause
"""shifterimg import: what is asked of the gateway, and what is refused before."""

from __future__ import annotations

import json
import os

import pytest

from shifter_cli.files import imports
from shifter_cli.files.imports import ImportFileError

READY = {"status": "READY", "id": "ab" * 32}


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "tool.squashfs"
    path.write_text("x")
    return path


def test_a_file_is_imported_as_a_custom_image(run, gateway, file):
    gateway.answer(READY)

    result = run("import", str(file), "tool:1")

    assert result.code == 0
    assert gateway.requests[0].line == "POST /api/doimport/mycluster/custom/tool%3A1/ HTTP/1.1"
    assert json.loads(gateway.requests[0].body) == {"filepath": str(file), "format": "auto"}
    assert result.stdout.endswith("Importing Image: custom:tool:1, status: READY\n")


def test_type_format_and_lists_are_sent(run, gateway, file):
    gateway.answer(READY)

    run("import", "--format", "squashfs", "-u", "5,6", "--group", "7", str(file), "docker:a/b:1")

    assert gateway.requests[0].line == "POST /api/doimport/mycluster/docker/a%2Fb%3A1/ HTTP/1.1"
    assert json.loads(gateway.requests[0].body) == {
        "filepath": str(file), "format": "squashfs", "allowed_uids": "5,6", "allowed_gids": "7",
    }  # fmt: skip


def test_the_same_is_asked_until_the_image_is_ready(run, gateway, file):
    gateway.answer({"status": "INIT"}, {"status": "HASHING"}, READY)

    result = run("-v", "import", str(file), "tool:1")

    assert result.code == 0
    assert len({request.body for request in gateway.requests}) == 1
    assert [line.split()[5] for line in result.stdout.splitlines() if "Importing" in line] == [
        "INIT", "HASHING", "READY",
    ]  # fmt: skip


def test_a_failed_import_gives_its_reason_and_exit_code_1(run, gateway, file):
    gateway.answer({"status": "FAILURE", "status_message": "it is no squashfs file"})

    result = run("import", str(file), "tool:1")

    assert result.code == 1
    assert result.stderr == "shifterimg: custom:tool:1: it is no squashfs file\n"


def test_logins_for_registries_stay_here(run, gateway, file, payloads):
    gateway.answer(READY)

    run("import", str(file), "tool:1")

    assert payloads == [b""]


def test_a_relative_path_is_sent_as_an_absolute_one(run, gateway, file, monkeypatch):
    monkeypatch.chdir(file.parent)
    gateway.answer(READY)

    run("import", file.name, "tool:1")

    assert json.loads(gateway.requests[0].body)["filepath"] == str(file)


def test_a_path_with_two_dots_is_resolved_as_the_kernel_does(tmp_path, monkeypatch):
    (tmp_path / "real/inner").mkdir(parents=True)
    (tmp_path / "real/file").touch()
    (tmp_path / "link").symlink_to("real/inner")
    monkeypatch.chdir(tmp_path)

    assert imports.path_of("link/../file") == str(tmp_path / "real/file")


def test_a_link_is_sent_as_typed(tmp_path):
    (tmp_path / "file").touch()
    (tmp_path / "link").symlink_to("file")

    assert imports.path_of(str(tmp_path / "link")) == str(tmp_path / "link")


def test_a_missing_file_is_told_before_the_gateway_is_asked(run, gateway):
    result = run("import", "/no/such/file", "tool:1")

    assert (result.code, gateway.requests) == (1, [])
    assert result.stderr == (
        "shifterimg: cannot import '/no/such/file': No such file or directory\n"
    )


def test_an_unreadable_file_is_told_before_the_gateway_is_asked(file, monkeypatch):
    monkeypatch.setattr(os, "access", lambda path, mode: False)

    with pytest.raises(ImportFileError, match="you may not read it"):
        imports.path_of(str(file))


@pytest.mark.parametrize("name", ["a\nb", "a\udcffb"])
def test_a_name_that_the_gateway_would_refuse_is_told(tmp_path, name):
    (tmp_path / name).touch()

    with pytest.raises(ImportFileError, match="rename it, it holds control characters"):
        imports.path_of(str(tmp_path / name))


def test_a_null_character_is_told():
    with pytest.raises(ImportFileError, match="NUL"):
        imports.path_of("/tmp/a\0b")


def test_an_unknown_format_is_told_with_those_that_are_known(run, file):
    result = run("import", "--format", "cramfs", str(file), "tool:1")

    assert result.code == 1
    assert "docker-archive" in result.stderr


def test_help_shows_how_to_import_what_docker_saves(run):
    result = run("import", "--help")

    assert result.code == 0
    assert "docker save app:2 > app.tar" in result.stdout
    assert "on its own host" in result.stdout
