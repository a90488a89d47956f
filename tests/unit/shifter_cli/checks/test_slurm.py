# SPDX-License-Identifier: BSD-3-Clause
from __future__ import annotations

import pytest

from shifter_cli.checks import slurm
from shifter_cli.modules import elf
from shifter_runtime import config as configs
from shifter_runtime import trust

TEXT = """\
udiMount = /var/udiMount
loopMount = /var/loopMount
imagePath = /images
udiRootPath = {root}
populateEtcDynamically = 1
{more}
"""
SLURM_22_05_8 = 22 << 16 | 5 << 8 | 8


@pytest.fixture
def site(tmp_path, monkeypatch):
    """A node with Slurm 22.05.8, its plugin, and a plugstack.conf that names that."""
    plugin = tmp_path / "lib64/shifter/shifter_slurm.so"
    plugin.parent.mkdir(parents=True)
    plugin.touch()
    (tmp_path / "slurm.conf").touch()
    (tmp_path / "plugstack.conf").write_text(f"required {plugin}\n")
    monkeypatch.setenv("SLURM_CONF", str(tmp_path / "slurm.conf"))
    monkeypatch.setattr(slurm, "_slurm_version", lambda _: ("22.05.8", "/usr/bin/sinfo"))
    monkeypatch.setattr(elf, "number", lambda *_: SLURM_22_05_8)
    monkeypatch.setattr(trust, "_problem", lambda *_, **__: "")
    return tmp_path


def found(site, more=""):
    config = configs.parse(TEXT.format(root=site, more=more), str(site / "udiRoot.conf"))
    return [(m.name, m.state.value, m.text) for m in slurm.plugin(config)]


def not_well(matters):
    return [(name, state) for name, state, _ in matters if state != "ok"]


def test_a_plugin_that_fits_and_is_named_is_well(site):
    matters = found(site)

    assert not_well(matters) == []
    assert any("is for Slurm 22.05, which is here" in text for *_, text in matters)


def test_a_plugin_for_another_slurm_is_to_be_built_again(site, monkeypatch):
    monkeypatch.setattr(slurm, "_slurm_version", lambda _: ("23.11.1", "/usr/bin/sinfo"))

    ((name, state, text),) = [one for one in found(site) if one[1] != "ok"]

    assert (name, state) == ("plugin", "wrong")
    assert "is for Slurm 22.05, and 23.11 is here" in text


def test_a_node_without_slurm_and_plugin_is_left_alone(site, monkeypatch):
    (site / "lib64/shifter/shifter_slurm.so").unlink()
    monkeypatch.setattr(slurm, "_slurm_version", lambda _: (None, "none was found"))

    assert [(name, state) for name, state, _ in found(site)] == [("slurm", "skipped")]


def test_slurm_without_the_plugin_is_a_hint(site):
    (site / "lib64/shifter/shifter_slurm.so").unlink()
    (site / "plugstack.conf").write_text("")

    assert not_well(found(site)) == [("plugin", "warning")]


def test_a_plugin_that_is_missing_is_missed(site):
    (site / "lib64/shifter/shifter_slurm.so").unlink()

    assert ("plugin", "wrong") in not_well(found(site))


@pytest.mark.parametrize(
    ("text", "state", "words"),
    [
        ("# nothing\n", "wrong", "does not name the plugin"),
        ("optional {plugin}\n", "warning", "`required` would"),
        ("required /elsewhere/shifter_slurm.so\n", "wrong", "names /elsewhere/shifter_slurm.so"),
        ("required {plugin}\nrequired {plugin}\n", "wrong", "named twice"),
        ("required {plugin} shifter_config=/other.conf\n", "warning", "reads /other.conf"),
        ("required {plugin} enable_sshd=1\n", "wrong", "enable_sshd needs optUdiImage"),
        ("required shifter_slurm.so # by Slurm's PluginDir\n", "ok", "names the plugin"),
    ],
)
def test_lines_of_plugstack_conf_are_read(site, text, state, words):
    plugin = site / "lib64/shifter/shifter_slurm.so"
    (site / "plugstack.conf").write_text(text.format(plugin=plugin))

    matters = found(site)

    assert any(one == state and words in said for _, one, said in matters), matters


def test_files_that_plugstack_conf_includes_are_read_too(site):
    plugin = site / "lib64/shifter/shifter_slurm.so"
    (site / "plugstack.conf").write_text("include plugstack.conf.d/*\n")
    (site / "plugstack.conf.d").mkdir()
    (site / "plugstack.conf.d/shifter.conf").write_text(f"required {plugin}\n")

    assert not_well(found(site)) == []


def test_a_file_that_includes_itself_comes_to_an_end(site):
    (site / "plugstack.conf").write_text("include plugstack.conf\n")

    assert ("plugstack", "wrong") in not_well(found(site))


def test_slurm_conf_may_name_another_plugstack_conf(site):
    (site / "slurm.conf").write_text(f"plugstackconfig={site}/other.conf\n")
    (site / "other.conf").write_text("")

    assert any(f"{site}/other.conf does not name" in text for *_, text in found(site))


@pytest.mark.parametrize(("is_there", "state"), [(True, "ok"), (False, "wrong")])
def test_an_sshd_for_containers_is_looked_for_where_the_plugin_starts_one(site, is_there, state):
    plugin = site / "lib64/shifter/shifter_slurm.so"
    (site / "plugstack.conf").write_text(f"required {plugin} enable_sshd=1\n")
    if is_there:
        (site / "udi/sbin").mkdir(parents=True)
        (site / "udi/sbin/sshd").touch()

    matters = found(site, f"optUdiImage = {site}/udi")

    assert ("sshd", state) in [(name, one) for name, one, _ in matters]
