# SPDX-License-Identifier: BSD-3-Clause
"""shifter-admin as typed: options, exit codes, and what goes to which stream."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from shifter_cli import admin
from tests.shared_objects import make_library

CONFIG = """\
udiMount = /var/udiMount
loopMount = /var/loopMount
imagePath = {root}
udiRootPath = {root}
populateEtcDynamically = 1
allowLibcPwdCalls = 1
defaultImageType = docker
"""
LIB = "usr/lib/x86_64-linux-gnu"


@pytest.fixture
def config(tmp_path) -> Path:
    path = tmp_path / "udiRoot.conf"
    # The directory of images must not be everybody's, as those of pytest are not.
    path.write_text(CONFIG.format(root="/usr"))
    return path


@pytest.fixture
def run(config, capsys):
    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        with pytest.raises(SystemExit) as end:
            admin.main(str(config), arguments)
        captured = capsys.readouterr()
        return subprocess.CompletedProcess(arguments, end.value.code, captured.out, captured.err)

    return run


@pytest.fixture
def mpich(tmp_path) -> Path:
    """The root of a node's system with a small MPICH."""
    root = tmp_path / "node"
    libc = make_library(root / LIB / "libc.so.6", versions=["GLIBC_2.17", "GLIBC_2.36"])
    make_library(root / LIB / "libmpich.so.12", uses={"GLIBC_2.36": libc})
    return root


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ((), "must specify a command; commands are "),
        (("frobnicate",), "no such command: 'frobnicate'"),
        (("config",), "must specify a command; commands are check, show"),
        (("module", "frob"), "no such command: 'frob'; commands are check, prepare"),
        (("module", "prepare", "--from", "/"), "missing argument"),
        (("module", "prepare", "lam", "--from", "/"), "'lam' is not one of 'mpich'"),
        (("module", "prepare", "mpich"), "missing option '--from'"),
        (("module", "check", "x"), "give either --image IMAGE or --tree DIR"),
        (("module", "check", "x", "--image", "a", "--tree", "b"), "give either"),
        (("module", "check", "mpich", "--tree", "/"), "has no module 'mpich', only none"),
        (("module", "check", "./nothing", "--tree", "/"), "'nothing' is not a directory"),
        (("config", "check", "--file", "/nowhere"), "cannot read /nowhere: No such file"),
        (("module", "prepare", "mpich", "--from", "/nowhere"), "there is no /nowhere"),
        (("module", "prepare", "mpich", "--from", "/", "--name", "a_b"), "cannot be called 'a_b'"),
        (("module", "prepare", "mpich", "--from", "/", "--name", "../x"), "be called '../x'"),
        (("module", "prepare", "mpich", "--from", "/", "--name", "none"), "be called 'none'"),
        (("module", "prepare", "mpich", "--from", "/", "--into", "/a b"), "white space: '/a b'"),
        (("module", "prepare", "mpich", "--from", "/", "--take", "libc.so.6"), "belongs to glibc"),
    ],
)  # fmt: skip
def test_misuse_is_told_on_stderr_with_exit_code_1(arguments, words, run):
    result = run(*arguments)

    assert (result.returncode, result.stdout) == (1, "")
    assert result.stderr.startswith("shifter-admin: ") and words in result.stderr
    assert len(result.stderr.splitlines()) == 1


@pytest.mark.parametrize("command", [(), ("config", "check"), ("module", "prepare")])
def test_help_has_examples_that_can_be_typed(command, run):
    result = run(*command, "--help")

    assert result.returncode == 0
    assert "  Examples:\n    shifter-admin " in result.stdout


def test_a_good_file_is_explained_key_by_key(run, config):
    result = run("config", "check")

    assert result.returncode == 0
    assert "    1  udiMount = /var/udiMount\n       the directory on which" in result.stdout
    assert result.stdout.splitlines()[-1].startswith(f"{config}: good (errors: 0")


def test_what_is_wrong_with_a_file_is_told_with_its_line(run, config):
    with config.open("a") as file:
        file.write("maxGroupCount = many\nmodule_mpi_copypath = /x\nimagepath = /y\n")

    result = run("config", "check")

    assert result.returncode == 1
    assert f"error: {config}: line 8: maxGroupCount must be a number, not 'many'" in result.stdout
    assert "line 9: unknown key 'module_mpi_copypath' ignored, did you mean" in result.stdout
    assert "line 10: unknown key 'imagepath' ignored, did you mean imagePath?" in result.stdout
    assert result.stdout.splitlines()[-1].startswith(f"{config}: not usable (errors: 1")


def test_a_check_for_programs_is_json(run, config):
    with config.open("a") as file:
        file.write("maxGroupCount = many\nmodule_mpi_siteEnv = A=1\n")

    result = run("config", "check", "--json")

    report = json.loads(result.stdout)
    assert (result.returncode, report["good"]) == (1, False)
    [error] = [one for one in report["findings"] if one["severity"] == "error"]
    assert (error["line"], error["key"]) == (8, "maxGroupCount")
    assert report["settings"][-1]["meaning"].startswith("module mpi: ")


def test_a_file_of_any_bytes_is_shown_without_what_terminals_obey(run, config):
    config.write_bytes(config.read_bytes() + b"system = \x1b[31m\xff\n")

    result = run("config", "check")

    assert "\x1b" not in result.stdout


def test_preparing_prints_what_to_paste_and_nothing_else(run, mpich, tmp_path):
    into = tmp_path / "modules"

    result = run(
        "module", "prepare", "mpich", "--root", str(mpich), "--from", f"/{LIB}", "--into", str(into)
    )

    assert result.returncode == 0
    assert result.stdout.splitlines()[0] == f"module_mpich_copyPath = {into}/mpich"
    assert all(line.startswith("module_mpich_") for line in result.stdout.splitlines())
    assert f"{into}/mpich: 1 files" in result.stderr


def test_where_there_is_no_configuration_the_directory_must_be_said(run, config, mpich):
    config.unlink()

    result = run("module", "prepare", "mpich", "--root", str(mpich), "--from", "/usr")

    assert result.returncode == 1
    assert "or say by --into where the module goes" in result.stderr


def test_conflicts_are_with_modules_that_the_site_offers(run, config, mpich, tmp_path):
    command = ("module", "prepare", "mpich", "--root", str(mpich), "--from", "/usr")
    without = run(*command, "--into", str(tmp_path / "one"))
    with config.open("a") as file:
        file.write("module_openmpi_siteEnv = A=1\n")

    beside = run(*command, "--into", str(tmp_path / "other"))

    assert "module_mpich_conflict" not in without.stdout
    assert "module_mpich_conflict = openmpi\n" in beside.stdout


@pytest.mark.parametrize(
    ("versions", "code", "words"),
    [
        (["GLIBC_2.17", "GLIBC_2.36"], 0, "mpich fits"),
        (["GLIBC_2.17"], 1, "libmpich.so.12 needs GLIBC_2.36 of libc.so.6"),
    ],
)
def test_a_module_is_held_against_an_unpacked_image(
    versions, code, words, run, config, mpich, tmp_path
):
    prepared = run(
        "module", "prepare", "mpich", "--root", str(mpich), "--from", "/usr",
        "--into", str(tmp_path / "modules"),
    )  # fmt: skip
    with config.open("a") as file:
        file.write(prepared.stdout)
    make_library(tmp_path / "image/lib64/libc.so.6", versions=versions)

    result = run("module", "check", "mpich", "--tree", str(tmp_path / "image"))
    report = json.loads(
        run("module", "check", "mpich", "--tree", str(tmp_path / "image"), "--json").stdout
    )

    assert result.returncode == code
    assert words in result.stdout
    assert report["fits"] is (code == 0)
    assert report["image_glibc"] == versions[-1]


def test_root_is_asked_who_may_start_the_image(run, mpich, tmp_path, monkeypatch):
    monkeypatch.delenv("SUDO_USER", raising=False)
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    into = str(tmp_path / "modules")
    run("module", "prepare", "mpich", "--root", str(mpich), "--from", "/usr", "--into", into)

    result = run("module", "check", f"{into}/mpich", "--image", "id:x")

    assert result.returncode == 1
    assert "say by --user who may use the image" in result.stderr


def test_colours_are_for_terminals_alone(config):
    command = [sys.executable, "-c", "import sys; from shifter_cli.admin import main; "
               "main(sys.argv[1], sys.argv[2:])", config, "config", "check"]  # fmt: skip

    piped = subprocess.run(command, capture_output=True, check=False).stdout

    assert b"\x1b" not in piped


def test_output_that_nobody_can_take_is_no_trace(config):
    command = [sys.executable, "-c", "import sys; from shifter_cli.admin import main; "
               "main(sys.argv[1], sys.argv[2:])", config, "config", "check"]  # fmt: skip

    with open("/dev/full", "w") as full:
        done = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True, check=False)

    assert done.returncode == 1
    assert done.stderr == "shifter-admin: cannot write the output: No space left on device\n"


@pytest.mark.parametrize("name", ["nowhere.invalid", "\udcff\x1b[2J", "a" * 300])
def test_names_that_nobody_knows_have_a_status_of_their_own(run, name, monkeypatch):
    def unknown(*_: object) -> None:
        if "invalid" not in name:
            name.encode("idna")  # what the library does, in its words
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", unknown)

    assert run("addresses", name).returncode == 3
