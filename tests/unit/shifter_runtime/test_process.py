# SPDX-License-Identifier: BSD-3-Clause
"""Which program runs, and where."""

from __future__ import annotations

import pytest

from shifter_common.metadata import ImageMetadata
from shifter_runtime import process, request
from shifter_runtime.errors import SetupError

IMAGE = "--image=docker:x:1"


def command(*words: str, entry: list[str] | None = None, cmd: list[str] | None = None) -> list[str]:
    metadata = ImageMetadata(format="squashfs", entry=entry, command=cmd)
    return process.choose_command(request.parse([IMAGE, *words], {}), metadata)


def test_without_entrypoint_the_image_has_no_say():
    assert command("a", "b", entry=["/entry"], cmd=["c"]) == ["a", "b"]


def test_entrypoint_takes_the_images_arguments_where_none_are_given():
    assert command("--entrypoint", entry=["/entry", "x"], cmd=["c"]) == ["/entry", "x", "c"]


def test_given_arguments_replace_those_of_the_image():
    assert command("--entrypoint", "mine", entry=["/entry"], cmd=["c"]) == ["/entry", "mine"]


def test_a_chosen_entry_point_is_one_word():
    assert command("--entrypoint=/bin/echo x", "y", entry=["/e"]) == ["/bin/echo x", "y"]


def test_an_image_with_a_command_alone_runs_that_as_docker_does():
    assert command("--entrypoint", cmd=["serve", "-v"]) == ["serve", "-v"]


def test_an_image_that_defines_nothing_is_told():
    with pytest.raises(SetupError, match="defines neither an entry point nor a command"):
        command("--entrypoint")


def test_workdir_of_an_image_that_has_none_is_told():
    with pytest.raises(SetupError, match="defines no working directory"):
        process.choose_directory(request.parse([IMAGE, "-w"], {}), ImageMetadata(format="squashfs"))


def test_a_relative_shell_is_not_trusted():
    assert process.shell({"SHELL": "sh"}) == ["/bin/sh"]
