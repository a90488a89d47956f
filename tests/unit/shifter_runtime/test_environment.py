# SPDX-License-Identifier: BSD-3-Clause
"""The environment of the program, against what the original gave to its programs."""

from __future__ import annotations

from pathlib import Path

import pytest

from shifter_common.metadata import ImageMetadata
from shifter_runtime import config as configs
from shifter_runtime import environment as environments
from shifter_runtime import request as requests
from shifter_runtime.environment import SiteVariables
from shifter_runtime.errors import SetupError

GOLDEN = Path(__file__).parents[2] / "golden"
IMAGE_ID = "e1edb98a467409ea070bb8ceb37c9f375b20d64a65c7f24d3cffda7ba75cdf0f"
CALLER = dict(
    line.split("=", 1) for line in (GOLDEN / "udi/caller_environment.txt").read_text().splitlines()
)
LEAST = "udiMount=/u\nloopMount=/l\nimagePath=/i\nudiRootPath=/r\npopulateEtcDynamically=1\n"


def recorded(name: str) -> list[tuple[str, str]]:
    """The variables that a recorded run printed, in their order."""
    lines = (GOLDEN / name).read_text().splitlines()
    if name.startswith("cli/"):
        start = next(i for i, line in enumerate(lines) if line.startswith("--- stdout")) + 1
        lines = lines[
            start : next(i for i, line in enumerate(lines) if line.startswith("--- stderr"))
        ]
    return [tuple(line.split("=", 1)) for line in lines]


def make(*arguments: str, caller=None, image_env=None, site="", modules=(), env_file=()):
    request = requests.parse([f"--image=id:{IMAGE_ID}", *arguments], caller or {})
    return environments.make(
        request,
        IMAGE_ID,
        ImageMetadata(format="squashfs", env=image_env or []),
        configs.parse(LEAST + site, "udiRoot.conf"),
        modules,
        env_file,
    )


def make_as_recorded(*arguments: str, modules=(), env_file=()) -> list[tuple[str, str]]:
    # The order in which the recorded caller had its variables; it is kept.
    names = [name for name, _ in recorded("udi/cold_env_order.txt") if name in CALLER]
    caller = {name: CALLER[name] for name in [*names, "LD_LIBRARY_PATH", "TMPDIR"]}
    environment = environments.make(
        requests.parse([f"--image=id:{IMAGE_ID}", *arguments], caller),
        IMAGE_ID,
        ImageMetadata.parse((GOLDEN / "udi/image.meta").read_text()),
        configs.load(str(GOLDEN / "udi/udiRoot.conf")),
        modules,
        env_file,
    )
    return list(environment.items())


@pytest.mark.parametrize("run", ["cold", "setuproot"])
def test_the_environment_is_the_original_s_in_its_order(run):
    assert make_as_recorded() == recorded(f"udi/{run}_env_order.txt")


@pytest.mark.parametrize("run", ["cold", "setuproot"])
def test_clearenv_keeps_the_caller_s_variables_out(run):
    assert make_as_recorded("-E") == recorded(f"udi/{run}_env_clearenv.txt")


def test_an_env_file_is_read_as_the_original_read_it():
    text = '# comment\n\nA=1\nB="quoted"\n  C=lead\nD = spaces\nE=trail  \nF=x=y\n'

    variables = environments.parse_env_file(text, "envfile")

    assert make_as_recorded("-E", env_file=variables) == recorded("cli/shifter_env_file.txt")


def test_a_module_comes_before_the_site():
    mpi = SiteVariables(
        assign=["MPI=1"],
        append=[],
        prepend=["LD_LIBRARY_PATH=/opt/udiImage/modules/mpi/lib"],
        unset=[],
    )

    assert make_as_recorded("-E", modules=[mpi]) == recorded("cli/shifter_module_default.txt")


@pytest.mark.parametrize("given", range(7))
def test_who_comes_later_wins(given):
    """Of caller, image, --env-file, --env, module and site, those up to `given` set X."""
    module = SiteVariables(assign=["X=5"] if given >= 5 else [], append=[], prepend=[], unset=[])

    environment = make(
        *(["-e", "X=no", "-e", "X=4"] if given >= 4 else []),
        caller={"X": "1"} if given >= 1 else {},
        image_env=["X=2"] if given >= 2 else [],
        env_file=[("X", "3")] if given >= 3 else [],
        modules=[module],
        site="siteEnv=X=6\n" if given >= 6 else "",
    )

    assert environment.get("X") == (str(given) if given else None)


@pytest.mark.parametrize(
    "name",
    [
        *("LD_PRELOAD", "LD_LIBRARY_PATH", "LD_ANYTHING", "RTLD_X", "TMPDIR", "GCONV_PATH"),
        *("GLIBC_TUNABLES", "LOCPATH", "MALLOC_TRACE", "NLSPATH", "RES_OPTIONS", "TZDIR"),
    ],
)
def test_what_the_linker_trusts_does_not_pass(name):
    assert name not in make(caller={name: "/x"})


@pytest.mark.parametrize("name", ["LD", "OLD_X", "TMP", "TZ", "PYTHONPATH", "SLURM_JOB_ID", "IFS"])
def test_every_other_variable_passes(name):
    assert make(caller={name: "/x"})[name] == "/x"


def test_what_the_linker_trusts_may_come_from_the_image_and_from_env():
    environment = make("-e", "TMPDIR=/t", caller={"TMPDIR": "/x"}, image_env=["LD_LIBRARY_PATH=/l"])

    assert (environment["TMPDIR"], environment["LD_LIBRARY_PATH"]) == ("/t", "/l")


def test_empty_values_are_set():
    environment = make("-e", "A=", image_env=["B="], site="siteEnv=C=\n", env_file=[("D", "")])

    assert [environment[name] for name in "ABCD"] == ["", "", "", ""]


def test_image_variables_without_name_or_value_are_left_out():
    assert "NOEQ" not in make(image_env=["NOEQ", "=x"])
    assert "" not in make(image_env=["NOEQ", "=x"])


@pytest.mark.parametrize(
    ("image_env", "site", "value"),
    [
        (["P=/a"], "siteEnvAppend=P=/z\n", "/a:/z"),
        (["P=/a"], "siteEnvPrepend=P=/z\n", "/z:/a"),
        (["P=/a"], "siteEnvAppend=P=/y P=/z\n", "/a:/y:/z"),
        ([], "siteEnvAppend=P=/z\n", "/z"),
        (["P="], "siteEnvPrepend=P=/z\n", "/z"),
        (["P=/a"], "siteEnvAppend=P=\n", "/a"),
        (["P=/a"], "siteEnv=P=/b\nsiteEnvAppend=P=/y\nsiteEnvPrepend=P=/x\n", "/x:/b:/y"),
        (["P=/a"], "siteEnvUnset=P Q\n", None),
        (["P=/a"], "siteEnv=P=/b\nsiteEnvUnset=P\n", None),
    ],
)
def test_the_site_adds_to_variables_with_colons(image_env, site, value):
    assert make(image_env=image_env, site=site).get("P") == value


def test_the_image_as_typed_is_shown_only_if_it_was_typed():
    pair = {"SHIFTER_IMAGETYPE": "id", "SHIFTER_IMAGE": "abc"}
    request = requests.parse([], pair)
    metadata = ImageMetadata(format="squashfs")

    environment = environments.make(
        request, IMAGE_ID, metadata, configs.parse(LEAST, "udiRoot.conf")
    )

    assert environment == {"SHIFTER_IMAGETYPE": "id", "SHIFTER_IMAGE": IMAGE_ID}


def test_a_file_of_variables_may_set_empty_values():
    assert environments.parse_env_file("A=\n", "f") == [("A", "")]


@pytest.mark.parametrize("line", ["NOEQ", "=x", "A=\0"])
def test_a_wrong_line_in_a_file_of_variables_is_named(line):
    with pytest.raises(SetupError, match="f: line 2: not of the form NAME=value"):
        environments.parse_env_file(f"A=1\n{line}\n", "f")


def test_unsetenv_removes_what_user_and_image_set_but_nothing_of_the_site():
    variables = make(
        *("--env=B=option", "--unsetenv=A,B,C,D,E,missing"),
        caller={"A": "caller", "KEPT": "1"},
        image_env=["C=image"],
        env_file=[("D", "file")],
        site="siteEnv=E=site\n",
        modules=[SiteVariables(assign=["D=module"], append=[], prepend=[], unset=[])],
    )

    assert not {"A", "B", "C"} & variables.keys()
    assert (variables["KEPT"], variables["D"], variables["E"]) == ("1", "module", "site")


def test_a_value_may_be_as_long_as_the_kernel_lets_it():
    assert make("--env=A=" + "x" * 100_000)["A"] == "x" * 100_000
