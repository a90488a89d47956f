# SPDX-License-Identifier: BSD-3-Clause
"""What ./install leaves behind is what root can rely on, and it can be run at any time again."""

from __future__ import annotations

import importlib.util
import json
import marshal
import os
import re
import shutil
import stat
from pathlib import Path

import pytest

pytestmark = pytest.mark.root

NOBODY = 65534
SLURM_HEADERS = Path("/usr/include/slurm")
UNCHECKED_HASH = 1  # PEP 552: the interpreter never compares it with its source


def everything_below(prefix: Path) -> list[Path]:
    return [prefix, *prefix.rglob("*")]


def test_only_root_can_change_what_is_installed(installation):
    changeable = [
        path
        for path in everything_below(installation.prefix)
        if path.lstat().st_uid != 0 or (path.lstat().st_mode & 0o022 and not path.is_symlink())
    ]

    assert changeable == []


def test_the_launcher_is_the_only_set_id_program(installation):
    set_id = [
        path
        for path in everything_below(installation.prefix)
        if path.lstat().st_mode & (stat.S_ISUID | stat.S_ISGID)
    ]

    assert set_id == [installation.program("shifter")]
    assert stat.S_IMODE(set_id[0].stat().st_mode) == 0o4755


def test_everybody_can_read_what_is_installed(installation):
    closed = [
        path for path in everything_below(installation.prefix) if not path.lstat().st_mode & 0o004
    ]

    assert closed == []


def test_byte_code_of_the_runtime_is_there_and_never_checked(installation):
    sources = [path for path in installation.library.rglob("*.py")]
    assert {"shifter_runtime", "shifter_common"} <= {path.parent.name for path in sources}

    for source in sources:
        compiled = Path(importlib.util.cache_from_source(str(source))).read_bytes()

        assert compiled[:4] == importlib.util.MAGIC_NUMBER
        assert int.from_bytes(compiled[4:8], "little") == UNCHECKED_HASH
        assert marshal.loads(compiled[16:]).co_filename == str(source)


def test_files_of_the_gateway_that_are_no_modules_are_there(installation):
    below = "shifter_imagegw/web"
    (installed,) = installation.prefix.glob(f"venv/lib/python3*/site-packages/{below}")
    sources = Path(__file__).parents[3] / below

    assert names_of_pages(installed) == names_of_pages(sources)


def names_of_pages(directory: Path) -> set[str]:
    found = {str(path.relative_to(directory)) for path in directory.glob("[st]*/*.*")}
    assert {"static/page.css", "static/page.js", "templates/base.html"} <= found
    return found


def test_a_second_run_changes_nothing(installation, script):
    before = installation.tree()

    done = script("install", "--prefix", installation.prefix)

    assert done.returncode == 0
    assert "up to date" in done.stdout
    assert installation.tree() == before


def names(prefix: Path) -> set[str]:
    """What is in the prefix, but for the environments that were replaced."""
    return {path.name for path in prefix.iterdir() if "venv-" not in path.name}


def test_an_update_leaves_configuration_alone_and_nothing_half_made(installation, script):
    before = names(installation.prefix)
    own = installation.sysconfdir / "udiRoot.conf"
    own.write_text("# ours\n")
    (installation.prefix / ".installed").write_text("an older version\n")

    done = script("install", "--prefix", installation.prefix)

    assert done.returncode == 0, done.stdout
    assert own.read_text() == "# ours\n"
    own.unlink()
    assert names(installation.prefix) == before
    assert {
        ".installed",
        "bin",
        "etc",
        "lib",
        "lib64",
        "libexec",
        "sbin",
        "share",
        "venv",
    } <= before
    assert os.listdir(installation.prefix / "lib") == ["shifter"]
    assert set(os.listdir(installation.prefix / "bin")) == {
        *("shifter", "shifter-admin", "shifterimg", "shifter-gateway")
    }


def test_the_environment_of_before_an_update_stays_for_who_still_runs_it(installation, script):
    old = (installation.prefix / "venv").resolve()
    (installation.prefix / ".installed").unlink()

    script("install", "--prefix", installation.prefix)

    new = (installation.prefix / "venv").resolve()
    assert new != old
    assert sorted(installation.prefix.glob("venv-*")) == sorted([old, new])


def test_the_launcher_knows_its_configuration_and_nobody_can_choose_another(installation, script):
    done = script(
        installation.program("shifter"), "--image=id:" + "0" * 64, "true",
        user=NOBODY, env={"GWCONFIG": "/nonexistent"},
    )  # fmt: skip

    assert done.returncode == 1
    assert str(installation.sysconfdir / "udiRoot.conf") in done.stdout


def test_a_hard_link_to_the_launcher_is_no_second_door(installation, script):
    link = installation.prefix / "door"
    link.hardlink_to(installation.program("shifter"))

    done = script(link, "--help", user=NOBODY)
    link.unlink()

    assert done.returncode == 1
    assert "started from elsewhere" in done.stdout


def test_commands_take_no_modules_from_the_callers_environment(installation, script, tmp_path):
    (tmp_path / "click.py").write_text("raise SystemExit('taken from the caller')\n")

    done = script(
        installation.program("shifterimg"), "--help",
        env={"PYTHONPATH": str(tmp_path), "PATH": os.environ["PATH"]}, cwd=tmp_path,
    )  # fmt: skip

    assert done.returncode == 0, done.stdout
    assert "Fetch container images" in done.stdout


@pytest.mark.parametrize("program", ["shifter", "shifter-admin", "shifter-gateway", "shifterimg"])
def test_shells_find_completions_below_the_prefix(installation, program):
    share = installation.prefix / "share"

    for path in (
        share / "bash-completion/completions" / program,
        share / "zsh/site-functions" / f"_{program}",
        share / "fish/vendor_completions.d" / f"{program}.fish",
    ):
        assert re.search(rf"(?m)^ *(#compdef|complete .*) {program}\b", path.read_text())


def test_the_gateway_command_finds_the_installed_configuration(installation, script):
    done = script(installation.program("shifter-gateway"), "config", "check")

    assert done.returncode == 1
    assert str(installation.sysconfdir / "imagemanager.json") in done.stdout


def test_examples_name_the_places_of_this_installation(installation):
    gateway = json.loads(
        (installation.sysconfdir / "imagemanager.production.json.example").read_text()
    )
    runtime = (installation.sysconfdir / "udiRoot.conf.example").read_text()

    assert gateway["KeyFile"] == str(installation.sysconfdir / "gateway.key")
    assert f"\netcPath = {installation.sysconfdir}/shifter_etc_files\n" in runtime
    assert f"\nudiRootPath = {installation.prefix}\n" in runtime


def test_a_prefix_that_somebody_else_can_change_is_refused(script, tmp_path):
    tmp_path.chmod(0o777)

    done = script("install", "--prefix", tmp_path / "shifter")

    assert done.returncode == 1
    assert "choose another --prefix" in done.stdout
    assert not (tmp_path / "shifter").exists()


def test_a_prefix_with_somebody_elses_launcher_is_refused(script, unused_prefix):
    (unused_prefix / "bin").mkdir(parents=True)
    (unused_prefix / "bin/shifter").write_text("the original\n")

    done = script("install", "--prefix", unused_prefix)

    assert done.returncode == 1
    assert "was not put there by this installer" in done.stdout
    assert (unused_prefix / "bin/shifter").read_text() == "the original\n"


def test_a_filesystem_without_set_uid_is_refused(script, unused_prefix):
    unused_prefix.mkdir()
    mount = f"mount -t tmpfs -o nosuid,mode=755 none {unused_prefix}"

    done = script(
        "unshare", "--mount", "sh", "-ec", f"{mount}; exec ./install --prefix {unused_prefix}",
        cwd=Path(__file__).parents[3],
    )  # fmt: skip

    assert done.returncode == 1
    assert "set-uid programs do not work there" in done.stdout


@pytest.mark.parametrize(
    "system", ["ID=debian\nVERSION_ID=11", "ID=fedora", "ID=ubuntu\nVERSION_ID=22.04"]
)
def test_an_unsupported_system_is_named(script, unused_prefix, tmp_path, system):
    release = tmp_path / "os-release"
    release.write_text(f"{system}\nPRETTY_NAME='Old Thing 7'\n")

    done = script(
        "unshare", "--mount", "sh", "-ec",
        f"mount --bind {release} /etc/os-release; exec ./install --prefix {unused_prefix}",
        cwd=Path(__file__).parents[3],
    )  # fmt: skip

    assert done.returncode == 1
    assert "this is Old Thing 7; Debian 12" in done.stdout
    assert not unused_prefix.exists()


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["--prefx", "/opt/x"], "unknown argument '--prefx'"),
        (["--prefix"], "--prefix needs a value"),
        (["--prefix", "relative"], "must be an absolute path"),
        (["--prefix", "/opt/two words"], "must be an absolute path"),
        (["--prefix", "/"], "must be an absolute path"),
        (["--runtime-only", "--gateway-only"], "exclude each other"),
        (["--gateway-only", "--with-slurm"], "nodes that submit or run jobs"),
        (["--slurm"], "--slurm needs a value"),
        (["--slurm", "relative"], "must be an absolute path"),
    ],
)
def test_wrong_arguments_are_named(script, arguments, complaint):
    done = script("install", *arguments)

    assert done.returncode == 1
    assert complaint in done.stdout


def test_a_node_without_a_gateway_gets_none_wherever_the_checkout_is(
    script, unused_prefix, tmp_path
):
    checkout = tmp_path / "two words"
    without = shutil.ignore_patterns(".git", ".venv", "tests", "__pycache__")
    shutil.copytree(Path(__file__).parents[3], checkout, ignore=without)

    done = script(checkout / "install", "--prefix", unused_prefix, "--runtime-only")

    assert done.returncode == 0, done.stdout
    assert set(os.listdir(unused_prefix / "bin")) == {"shifter", "shifter-admin", "shifterimg"}
    assert set(os.listdir(unused_prefix / "sbin")) == {
        *("setupRoot", "unsetupRoot", "shifter-prologue", "shifter-epilogue"),
    }


def release_of(headers):
    number = re.findall(r"SLURM_VERSION_NUMBER (0x\w+)", (headers / "slurm_version.h").read_text())
    major, minor, micro = int(number[0], 16).to_bytes(3)
    return f"{major}.{minor:02}.{micro}"


def test_the_plugin_is_for_the_slurm_whose_headers_it_was_built_with(installation, script):
    plugin = installation.prefix / "lib64/shifter/shifter_slurm.so"

    again = script("install", "--prefix", installation.prefix)

    assert f"built for Slurm {release_of(SLURM_HEADERS)}; " in again.stdout
    assert "will not load" not in again.stdout
    assert stat.S_IMODE(plugin.stat().st_mode) == 0o644
    assert f"{installation.sysconfdir}/udiRoot.conf".encode() in plugin.read_bytes()
    example = (installation.sysconfdir / "slurm/plugstack.conf.example").read_text()
    assert f"\nrequired {plugin}\n" in example


@pytest.fixture
def other_slurm(tmp_path):
    """Where somebody installed a Slurm of their own, as far as a plugin sees it."""
    headers = tmp_path / "include/slurm"
    shutil.copytree(SLURM_HEADERS, headers)
    header = headers / "slurm_version.h"
    number = re.sub(r"(SLURM_VERSION_NUMBER) 0x\w+", r"\1 0x630b02", header.read_text())
    header.write_text(number)
    return tmp_path


def test_a_slurm_of_the_site_s_own_is_kept_to_and_a_newer_one_noticed(
    script, unused_prefix, other_slurm
):
    words = ("install", "--prefix", unused_prefix, "--runtime-only")
    plugin = unused_prefix / "lib64/shifter/shifter_slurm.so"

    first = script(*words, "--slurm", other_slurm)
    built = plugin.stat().st_ino
    second = script(*words)
    unchanged = plugin.stat().st_ino
    header = other_slurm / "include/slurm/slurm_version.h"
    header.write_text(header.read_text().replace("0x630b02", "0x640500"))
    third = script(*words)

    assert "built for Slurm 99.11.2; " in first.stdout
    assert f"Slurm here is slurm-wlm {release_of(SLURM_HEADERS)}, which will not load it" in (
        first.stdout
    )
    assert "up to date" in second.stdout
    assert unchanged == built
    assert "built for Slurm 100.05.0; " in third.stdout
    assert plugin.stat().st_ino != built


def test_headers_that_are_not_where_they_are_said_to_be_are_named(script, unused_prefix, tmp_path):
    done = script("install", "--prefix", unused_prefix, "--runtime-only", "--slurm", tmp_path)

    assert done.returncode == 1
    assert f"there is no {tmp_path}/include/slurm/spank.h" in done.stdout
    assert not (unused_prefix / "bin/shifter").exists()
