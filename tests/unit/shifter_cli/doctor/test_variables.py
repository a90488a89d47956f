# SPDX-License-Identifier: BSD-3-Clause
"""What the doctor says of the environment of a program."""

from __future__ import annotations

import pytest

from shifter_cli.doctor import variables
from shifter_cli.doctor.findings import Level
from shifter_cli.doctor.launch import Preview
from shifter_runtime import config as configs
from shifter_runtime import request as requests

CONFIG = """\
udiMount=/udi
loopMount=/loop
imagePath=/images
udiRootPath=/opt/shifter
populateEtcDynamically=1
siteEnv=SITE=1
siteEnvAppend=PATH=/opt/site
module_mpich_siteEnvPrepend=LD_LIBRARY_PATH=/opt/udiImage/modules/mpich/lib
"""


class Files:
    """An image, or what a user sees in it: names by directory."""

    def __init__(self, names):
        self._names = names

    def names(self, directory):
        return self._names.get(directory, [])

    def open(self, path):
        raise AssertionError(path)


def preview(set_variables, unset=()):
    return Preview("a" * 64, (), set_variables, tuple(unset), "/", ())


def request(environment, *words):
    return requests.parse(["--image=docker:x:1", *words], environment)


def test_each_variable_is_said_to_come_from_where_it_does():
    set_variables = {
        "SITE": "1", "LD_LIBRARY_PATH": "/opt/udiImage/modules/mpich/lib", "A": "b",
        "LANG": "C", "SHIFTER_IMAGE": "aa", "PATH": "/bin:/opt/site",
    }  # fmt: skip
    asked = request({}, "--module=mpich", "--env=A=b")

    found = variables.sources(
        preview(set_variables), asked, configs.parse(CONFIG, "x"), {"LANG": "C", "PATH": "/bin"}
    )

    assert {name: source for name, (_, source) in found.items()} == {
        "SITE": "the site", "LD_LIBRARY_PATH": "module mpich", "A": "--env",
        "LANG": "the image", "SHIFTER_IMAGE": "shifter", "PATH": "the site",
    }  # fmt: skip


def test_variables_that_lead_to_the_node_are_named():
    """Users.md 13: the environment leaks in."""
    environment = {"PYTHONPATH": "/opt/x", "LESSOPEN": "| lesspipe", "EDITOR": "vi"}

    (finding,) = variables.leaks(preview({}), request(environment), {"PATH": "/bin"})

    assert finding.level is Level.NOTE
    assert finding.text.startswith("PYTHONPATH, LESSOPEN of yours are passed on")
    assert finding.advice == "leave them out: --unsetenv=PYTHONPATH,LESSOPEN"


@pytest.mark.parametrize(
    ("set_variables", "unset"), [({"PYTHONPATH": "/image"}, ()), ({}, ("PYTHONPATH",))]
)
def test_a_variable_that_image_or_options_replace_leads_nowhere(set_variables, unset):
    asked = request({"PYTHONPATH": "/opt/x"})

    findings = list(variables.leaks(preview(set_variables, unset), asked, {}))

    assert [finding.level for finding in findings] == [Level.OK]


def test_functions_of_the_shell_are_told_of():
    (finding, _) = variables.leaks(preview({}), request({"BASH_FUNC_module%%": "() {"}), {})

    assert "shell functions of yours" in finding.text


def test_a_path_of_the_node_s_in_an_image_without_one_is_told():
    (finding, _) = variables.leaks(preview({}), request({"PATH": "/usr/bin"}), {})

    assert finding.text.startswith("the image sets no PATH")


def test_python_packages_at_home_that_shadow_the_image_s_are_told():
    """Users.md 45: ~/.local shadows the image's Python."""
    files = Files(
        {
            "/home/a/.local/lib": ["python3.9", "python3.11", "other"],
            "/usr/local/lib": ["python3.11"],
            "/usr/lib": ["python3.10", "python3"],
        }
    )

    (finding,) = variables.own_python("/home/a", {}, files)

    assert finding.level is Level.NOTE
    assert finding.text.startswith("packages in /home/a/.local/lib/python3.11 come before")
    assert finding.advice == "keep them out: --env=PYTHONNOUSERSITE=1"


def test_python_packages_at_home_are_no_matter_where_they_are_left_alone():
    files = Files({"/home/a/.local/lib": ["python3.11"], "/usr/lib": ["python3.11"]})

    (finding,) = variables.own_python("/home/a", {"PYTHONNOUSERSITE": "1"}, files)

    assert finding.level is Level.OK


@pytest.mark.parametrize(
    "names",
    [
        {"/usr/lib": ["python3.11"]},  # no home in the container
        {"/home/a/.local/lib": ["python3.9"], "/usr/lib": ["python3.11"]},
    ],
)
def test_python_packages_that_the_image_does_not_load_are_no_matter(names):
    assert list(variables.own_python("/home/a", {}, Files(names))) == []


def test_the_final_variables_are_those_kept_and_those_set():
    asked = request({"A": "1", "B": "2", "C": "3"})

    assert variables.final(preview({"B": "9"}, ["C"]), asked) == {"A": "1", "B": "9"}
