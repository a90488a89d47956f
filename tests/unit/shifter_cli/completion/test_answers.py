# SPDX-License-Identifier: BSD-3-Clause
"""What shells are told may be typed."""

from __future__ import annotations

import json
import os
import time

import pytest

READY = {"id": "a", "status": "READY", "system": "mycluster"}
IMAGES = {
    "list": [
        READY | {"itype": "docker", "tag": ["ubuntu:22.04", "ubuntu:24.04"]},
        READY | {"itype": "docker", "tag": ["alpine:3", "odd\u001b[2Jname:1"]},
        READY | {"itype": "custom", "tag": ["tool:1"]},
    ]
}
MODULES = "module_mpich_siteEnv=A=1\nmodule_gpu_siteEnv=B=1\nmodule_old_enabled=0\n"


@pytest.fixture
def complete(run, monkeypatch, tmp_path):
    """`complete("shifter --im", shell="zsh")`: what the shell is told, without help."""
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    monkeypatch.setenv("COMP_WORDBREAKS", " \t\n\"'><=;|&(:")

    def complete(line, shell="zsh"):
        monkeypatch.setenv("_SHIFTER_COMPLETE", f"{shell}:{line.split()[0]}")
        monkeypatch.setenv("COMP_LINE", line)
        result = run(more=MODULES)
        assert (result.code, result.stderr) == (0, "")
        return [line.partition("\t")[0] for line in result.stdout.splitlines()]

    return complete


@pytest.fixture
def cache(tmp_path):
    return tmp_path / "shifter-images-mycluster.json"


def words(*values):
    return [f"word:{value}" for value in values]


def test_modes_are_completed(complete):
    assert complete("shifterimg pu") == words("pull", "pullnb")


def test_options_of_a_mode_are_completed(complete):
    assert "word:--json" in complete("shifterimg pull --")


def test_images_are_completed_without_the_type_that_is_the_default(complete, gateway):
    gateway.answer(IMAGES)

    assert complete("shifterimg lookup ub") == words("ubuntu:22.04", "ubuntu:24.04")


def test_images_of_other_types_are_completed_with_their_type(complete, gateway):
    gateway.answer(IMAGES)

    assert complete("shifterimg lookup ") == words(
        *("custom:tool:1", "alpine:3", "ubuntu:22.04", "ubuntu:24.04")
    )


def test_images_with_a_type_are_completed_with_it(complete, gateway):
    gateway.answer(IMAGES)

    assert complete("shifter --image=docker:al") == words("--image=docker:alpine:3")


def test_bash_is_told_only_what_comes_after_what_breaks_its_words(complete, gateway):
    gateway.answer(IMAGES)

    assert complete("shifter --image=docker:ubuntu:2", "bash") == words("22.04", "24.04")
    assert complete("shifter --image=ub", "bash") == words("ubuntu:22.04", "ubuntu:24.04")


def test_bash_that_breaks_words_nowhere_is_told_all(complete, gateway, monkeypatch):
    gateway.answer(IMAGES)
    monkeypatch.setenv("COMP_WORDBREAKS", " ")

    assert complete("shifter --image=docker:al", "bash") == words("--image=docker:alpine:3")


def test_no_name_moves_the_cursor_of_a_terminal(complete, gateway):
    gateway.answer(IMAGES)

    assert complete("shifterimg lookup odd") == []


@pytest.mark.parametrize("tag", ["a$(id):1", "a;id:1", "a`id`:1", "a id:1", "a&id:1"])
def test_nothing_is_offered_that_a_shell_would_run(complete, gateway, tag):
    gateway.answer({"list": [READY | {"itype": "docker", "tag": [tag, "able:1"]}]})

    assert complete("shifterimg lookup a", "bash") == words("able:1")


def test_the_gateway_is_asked_once_a_minute(complete, gateway, cache):
    gateway.answer(IMAGES)

    complete("shifterimg lookup u")
    complete("shifter --image=u")

    assert len(gateway.requests) == 1
    assert cache.stat().st_mode & 0o777 == 0o600


def test_what_is_kept_is_asked_anew_when_it_is_old(complete, gateway, cache):
    cache.write_text('["docker:old:1"]')
    long_ago = time.time() - 100
    os.utime(cache, (long_ago, long_ago))
    gateway.answer(IMAGES)

    assert complete("shifterimg lookup ubuntu:24") == words("ubuntu:24.04")
    assert "docker:alpine:3" in json.loads(cache.read_text())


def test_a_link_in_the_place_of_what_is_kept_is_not_followed(complete, gateway, cache, tmp_path):
    (tmp_path / "other").write_text('["docker:evil:1"]')
    cache.symlink_to(tmp_path / "other")
    gateway.answer(IMAGES)

    assert complete("shifterimg lookup e") == []
    assert (tmp_path / "other").read_text() == '["docker:evil:1"]'


@pytest.mark.parametrize("content", ["", "{", "3", "[3]"])
def test_what_is_kept_broken_is_no_matter(complete, gateway, cache, content):
    cache.write_text(content)
    gateway.answer(IMAGES)

    assert complete("shifterimg lookup al") == (words("alpine:3") if content != "[3]" else [])


def test_a_silent_gateway_is_met_with_silence(complete, gateway):
    gateway.answer_raw(b"")

    assert complete("shifterimg lookup u") == []


@pytest.mark.parametrize("line", ["", "shifterimg", "shifterimg 'pull", "shifterimg none --x"])
def test_odd_lines_are_no_error(run, monkeypatch, line):
    monkeypatch.setenv("_SHIFTER_COMPLETE", "bash:shifterimg")
    monkeypatch.setenv("COMP_LINE", line)

    result = run()

    assert (result.code, result.stderr) == (0, "")


# shifter


def test_options_of_shifter_are_those_of_the_runtime(complete):
    from shifter_runtime import request

    offered = complete("shifter --")

    assert {word.removeprefix("word:--").rstrip("=") for word in offered} == {
        option for option, _ in (request.LONG_OPTIONS | request.ADDED_OPTIONS).values()
    } - {"ignored"}
    assert "word:--image=" in offered
    assert "word:--writable" in offered


@pytest.mark.parametrize(
    "line",
    [
        "shifter --image=x pyth", "shifter -E -- --", "shifter --writable ls --ima",
        "shifter --volume=/a", "shifter -V ", "shifter --env-file ",
    ],
)  # fmt: skip
def test_programs_and_paths_are_left_to_the_shell(complete, line):
    assert complete(line) == ["file:"]


@pytest.mark.parametrize("line", ["shifter -i ub", "shifter -Ev --image ub", "shifter doctor ub"])
def test_an_image_may_be_a_word_of_its_own(complete, gateway, line):
    gateway.answer(IMAGES)

    assert complete(line) == words("ubuntu:22.04", "ubuntu:24.04")


def test_the_doctor_is_offered_beside_files(complete):
    assert complete("shifter doc") == ["word:doctor", "file:"]
    assert "word:--module=" in complete("shifter doctor x --")


@pytest.mark.parametrize(
    ("typed", "offered"),
    [
        ("", ["gpu", "mpich", "none"]),
        ("m", ["mpich"]),
        ("mpich,", ["mpich,gpu"]),
        ("mpich,m", []),
    ],
)
def test_modules_are_completed_one_after_the_other(complete, typed, offered):
    assert complete(f"shifter --module={typed}") == words(*(f"--module={one}" for one in offered))
