# SPDX-License-Identifier: BSD-3-Clause
from __future__ import annotations

import os
import stat

import pytest

from shifter_cli.checks import installation
from shifter_runtime import config as configs
from shifter_runtime import trust

TEXT = """\
udiMount = {root}/udi
loopMount = {root}/loop
imagePath = {root}/images
udiRootPath = {root}
populateEtcDynamically = 1
"""


@pytest.fixture
def site(tmp_path, monkeypatch):
    """An installation whose files belong to whoever runs the tests, who is taken for root."""
    for name in ("bin/shifter", "sbin/setupRoot", "sbin/unsetupRoot"):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_text("#!/bin/sh\necho shifter 1.2\n")
        path.chmod(0o755)
    (tmp_path / "bin/shifter").chmod(0o4755)
    (tmp_path / "images").mkdir()
    (tmp_path / "images/x.meta").touch()
    monkeypatch.setattr(trust, "_problem", lambda *_, **__: "")
    return tmp_path


def found(site):
    config = configs.parse(TEXT.format(root=site), "x")
    matters = list(installation.installation(config))
    return {matter.name: (matter.state.value, matter.text) for matter in matters}


def test_a_whole_installation_is_well(site):
    matters = found(site)

    assert {state for state, _ in matters.values()} == {"ok"}
    assert matters["launcher"][1] == f"{site}/bin/shifter is set-uid root; shifter 1.2"
    assert matters["imagePath"][1].endswith("holds 1 image")
    assert "the first launch makes it" in matters["udiMount"][1]


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (lambda path: path.chmod(0o755), "is not set-uid root"),
        (lambda path: path.chmod(0o4750), "may not be started by users"),
        (lambda path: path.unlink(), "there is no"),
        (lambda path: path.write_text("#!/bin/sh\necho no python >&2; exit 1\n"), "no python"),
    ],
)
def test_a_launcher_that_will_not_do_is_said_to_be_one(site, spoil, words):
    path = site / "bin/shifter"
    spoil(path)
    if path.exists() and "python" in words:
        path.chmod(stat.S_ISUID | 0o755)

    state, text = found(site)["launcher"]

    assert state == "wrong"
    assert words in text


def test_a_program_that_others_can_change_is_not_relied_on(site, monkeypatch):
    monkeypatch.undo()
    os.chmod(site / "sbin/setupRoot", 0o757)

    state, text = found(site)["sbin/setupRoot"]

    assert state == "wrong"
    assert "Shifter cannot rely on it" in text


def test_images_that_are_not_there_are_missed(site):
    (site / "images/x.meta").unlink()
    (site / "images").rmdir()

    state, text = found(site)["imagePath"]

    assert (state, "mount the filesystem" in text) == ("wrong", True)


def test_without_udi_root_path_nothing_below_it_is_looked_for(tmp_path):
    config = configs.parse(TEXT.format(root=tmp_path / "none"), "x")

    (matter,) = installation.installation(config)

    assert matter.state == "skipped"


def test_findings_of_the_configuration_are_told_with_their_lines(tmp_path):
    path = tmp_path / "udiRoot.conf"
    path.write_text(TEXT.format(root="/usr") + "frobnicate = 1\nmaxGroupCount = many\n")

    matters = list(installation.configuration(str(path)))

    texts = [(matter.state.value, matter.text) for matter in matters]
    assert ("warning", "line 6: unknown key 'frobnicate' ignored") in texts
    assert ("wrong", "line 7: maxGroupCount must be a number, not 'many'") in texts
    assert not any(state == "ok" for state, _ in texts)


def test_a_configuration_that_is_not_there_is_missed(tmp_path):
    (matter,) = installation.configuration(str(tmp_path / "none"))

    assert (matter.state, "No such file" in matter.text) == ("wrong", True)
