# SPDX-License-Identifier: BSD-3-Clause
"""The command line and its variables, against the command lines that the original was given."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

from shifter_common.errors import InvalidReferenceError, ShifterError
from shifter_common.reference import ImageReference
from shifter_runtime import request as requests
from shifter_runtime import usage
from shifter_runtime.errors import NotPermittedError, SetupError, UsageError, VolumeError
from shifter_runtime.volumes import signature

GOLDEN = Path(__file__).parents[2] / "golden" / "cli"
RUNTIME_PAGE = Path(__file__).parents[3] / "docs/runtime.md"
IMAGE_ID = "e1edb98a467409ea070bb8ceb37c9f375b20d64a65c7f24d3cffda7ba75cdf0f"
IMAGE = ImageReference("id", IMAGE_ID)
CASES = sorted(path.stem for path in GOLDEN.glob("shifter_*.txt") if "help" not in path.stem)
CASES.append("shifter_no_image_help_first")  # an empty image, whatever its name says

ENVIRONMENT = {
    "shifter_env_image_half": {"SHIFTER_IMAGE": IMAGE_ID},
    "shifter_env_image_pair": {"SHIFTER_IMAGETYPE": "id", "SHIFTER_IMAGE": IMAGE_ID},
    "shifter_env_imagerequest": {"SHIFTER_IMAGEREQUEST": f"id:{IMAGE_ID}"},
    "shifter_env_shifter": {"SHIFTER": f"id:{IMAGE_ID}"},
    "shifter_env_spank": {
        "SLURM_SPANK_SHIFTER_IMAGETYPE": "id",
        "SLURM_SPANK_SHIFTER_IMAGE": IMAGE_ID,
        "SLURM_SPANK_SHIFTER_VOLUME": "/data:/mnt",
    },
    "shifter_env_volume": {"SHIFTER_VOLUME": "/data:/mnt"},
    "shifter_env_volume_replaced": {"SHIFTER_VOLUME": "/data:/mnt"},
}

# Command lines that are refused as such; the original printed its short usage with most of them.
REFUSED = {
    "shifter_no_arguments": "no image specified",
    "shifter_no_image": "no image specified",
    "shifter_env_image_half": "no image specified",
    "shifter_no_image_help_first": "--image is empty",
    "shifter_image_bad_chars": "'docker:日本' is no image name: it holds '日'",
    "shifter_no_default_type": "has no type .* write it as docker:x:1",
    "shifter_option_without_value": "option '--image' requires an argument",
    "shifter_unknown_option": "unrecognized option '--nope'",
    "shifter_unknown_short_option": "invalid option '-Z'",
    "shifter_env_no_equals": "--env 'A' is not of the form NAME=value",
    "shifter_volume_cache_bad_fs": "only fs=xfs, not 'ext4'",
    "shifter_volume_cache_bad_size": "size must be a number",
    "shifter_volume_cache_no_size": "perNodeCache needs a size",
    "shifter_volume_dotdot": "must not hold '..'",
    "shifter_volume_etc": "cannot mount over /etc ",
    "shifter_volume_flag_site_only": "flag 'rec' is for the site only",
    "shifter_volume_flag_twice": "flag 'ro' is given twice",
    "shifter_volume_flag_unknown": "unknown flag 'zz'",
    "shifter_volume_no_colon": "the target is missing",
    "shifter_volume_only_colon": "the source is missing",
    "shifter_volume_relative_from": "'data' is not an absolute path",
    "shifter_volume_relative_to": "'mnt' is not an absolute path",
    "shifter_volume_root": "cannot mount over / ",
    "shifter_volume_second_bad": "volume '/data:/etc': cannot mount over /etc ",
    "shifter_volume_under_var": "cannot mount at /var/x, below /var ",
}
# These worked in the original only up to a point, or not although its help promised it.
REFUSED_EARLIER = {"shifter_volume_root"}
NOW_FINE = {"shifter_env_empty_value", "shifter_env_shifter"}

# What is understood, beside the image and the words after the options.
UNDERSTOOD = {
    "shifter_ok": {"command": ["/bin/echo", "hello", "a b"], "requested_text": f"id:{IMAGE_ID}"},
    "shifter_ok_double_dash": {"command": ["/bin/echo", "-v"]},
    "shifter_ok_exit_code": {"command": ["/bin/sh", "-c", "exit 42"]},
    "shifter_ok_verbose": {"verbose": True, "command": ["/bin/true"]},
    "shifter_default_shell": {"command": [], "entrypoint": None, "workdir": None},
    "shifter_entrypoint": {"entrypoint": True, "command": []},
    "shifter_entrypoint_args": {"entrypoint": True, "command": ["one", "two"]},
    "shifter_entrypoint_override": {"entrypoint": "/bin/echo", "command": ["x"]},
    "shifter_entrypoint_override_noargs": {"entrypoint": "/bin/echo", "command": []},
    "shifter_entrypoint_override_words": {"entrypoint": "/bin/echo x y", "command": []},
    "shifter_workdir": {"workdir": "/data", "command": ["pwd"]},
    "shifter_workdir_image": {"workdir": True, "command": ["pwd"]},
    "shifter_workdir_space_form": {"workdir": True, "command": ["/data", "pwd"]},
    "shifter_env_clear": {"clear_environment": True, "command": ["env"]},
    "shifter_env_empty_value": {"env_overrides": [("A", "")]},
    "shifter_env_file": {"env_file": ["/home/alice/envfile"], "clear_environment": True},
    "shifter_env_set": {"env_overrides": [("A", "1"), ("B", "x=y"), ("A", "2")]},
    "shifter_env_image_pair": {"reference": IMAGE, "requested_text": None},
    "shifter_env_imagerequest": {"reference": IMAGE, "requested_text": f"id:{IMAGE_ID}"},
    "shifter_env_shifter": {"reference": IMAGE, "requested_text": f"id:{IMAGE_ID}"},
    "shifter_env_spank": {"reference": IMAGE, "requested_text": None},
    "shifter_module_chosen": {"modules": ["gpu"], "clear_environment": True},
    "shifter_module_conflict": {"modules": ["mpi", "gpu"]},
    "shifter_module_none": {"modules": ["none"]},
    "shifter_module_default": {"modules": None},
    "shifter_gateway_down": {"reference": ImageReference("docker", "x:1")},
    "shifter_volume_empty": {"volumes": []},
}
VOLUMES = {
    "shifter_env_spank": "/data:/mnt",
    "shifter_env_volume": "/data:/mnt",
    "shifter_env_volume_replaced": "/data:/srv",
    "shifter_volume_ok": "/home/alice/src:/mnt:ro",
    "shifter_volume_same_target_twice": "/data:/mnt;/home/alice/src:/mnt",
}


def arguments_of(case: str) -> list[str]:
    line = (GOLDEN / f"{case}.txt").read_text().splitlines()[1]
    assert line.startswith("$ shifter")
    return shlex.split(line)[2:]


def parse_case(case: str) -> requests.Request:
    default_type = "" if case == "shifter_no_default_type" else "docker"
    return requests.parse(
        arguments_of(case), ENVIRONMENT.get(case, {}), default_type=default_type, allow_local=True
    )


def parse(*arguments: str, **environment: str) -> requests.Request:
    return requests.parse(["--image=x", *arguments], environment)


@pytest.mark.parametrize("case", CASES)
def test_recorded_command_lines_are_understood_or_refused_as_before(case):
    if case in REFUSED:
        with pytest.raises(ShifterError, match=REFUSED[case]) as raised:
            parse_case(case)
        assert isinstance(raised.value, UsageError | VolumeError | InvalidReferenceError)
    else:
        request = parse_case(case)
        understood = UNDERSTOOD.get(case, {})
        assert {name: getattr(request, name) for name in understood} == understood
        if case in VOLUMES:
            assert signature(request.volumes) == VOLUMES[case]


@pytest.mark.parametrize("case", CASES)
def test_the_original_agrees_on_what_is_refused(case):
    text = (GOLDEN / f"{case}.txt").read_text()

    # Errors of modules and of the gateway came with the usage, too, but are not of this step.
    later = case.startswith(("shifter_module_", "shifter_gateway_"))
    said_usage = "<short usage" in text or case == "shifter_env_no_equals"
    if case not in REFUSED_EARLIER | NOW_FINE and not later:
        assert said_usage == (case in REFUSED)


def test_the_tables_name_recorded_cases_only():
    assert (set(REFUSED) | set(UNDERSTOOD) | set(VOLUMES) | set(ENVIRONMENT)) <= set(CASES)


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["-vE"], {"verbose": True, "clear_environment": True}),
        (["-vEeA=1"], {"verbose": True, "env_overrides": [("A", "1")]}),
        (["-ve", "A=1"], {"verbose": True, "env_overrides": [("A", "1")]}),
        (["-w/dir"], {"workdir": "/dir", "command": []}),
        (["-vw/dir", "-E"], {"workdir": "/dir", "clear_environment": True}),
        (["-w", "-v"], {"workdir": True, "verbose": True}),
        (["-n"], {"command": []}),
        (["-nv"], {"verbose": True}),
        (["--verb"], {"verbose": True}),
        (["--wo=/dir"], {"workdir": "/dir"}),
        (["--entry"], {"entrypoint": True}),
        (["--entry=a"], {"entrypoint": "a"}),
        (["--entryp=a"], {"entrypoint": "a"}),
        (["--modules=a,b"], {"modules": ["a", "b"]}),
        (["--mod", "a"], {"modules": ["a"]}),  # two names, one option: not ambiguous
        (["-ma", "-mb"], {"modules": ["b"]}),
        (["--env", "A=-v", "a"], {"env_overrides": [("A", "-v")], "command": ["a"]}),
        (["-e", "A=-v", "a"], {"env_overrides": [("A", "-v")], "command": ["a"]}),
        (["--env=A=1", "-v"], {"env_overrides": [("A", "1")], "verbose": True}),
        (["-e", "--"], None),
        (["--dry-run"], {"dry_run": True}),
        (["a", "-v", "--nope"], {"command": ["a", "-v", "--nope"], "verbose": False}),
        (["-", "-v"], {"command": ["-", "-v"]}),
        (["--", "-v"], {"command": ["-v"], "verbose": False}),
        (["--", "--", "a"], {"command": ["--", "a"]}),
        (["-v", ""], {"command": [""]}),
        (["--timing", "--json"], {"timing": True, "json": True}),
        # A beginning that was clear in the original still is, whatever was added.
        (["--m=a"], {"modules": ["a"]}),
        (["--mo=a"], {"modules": ["a"]}),
        (["--w=/dir"], {"workdir": "/dir", "writable": None}),
        (["--unset=A"], {"unset": ["A"]}),
        # As people write for docker.
        (["-it", "bash"], {"command": ["bash"]}),
        (["-ti", "--rm", "-t", "--tty", "--interactive", "bash"], {"command": ["bash"]}),
        (["-vt", "bash"], {"verbose": True, "command": ["bash"]}),
    ],
)
def test_options_are_read_as_getopt_long_does(words, expected):
    if expected is None:
        with pytest.raises(UsageError):
            parse(*words)
    else:
        request = parse(*words)
        assert {name: getattr(request, name) for name in expected} == expected


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (
            ["--e=a"],
            "option '--e' is ambiguous: it may be --env, --env-file, --entrypoint",
        ),
        (["--v"], "option '--v' is ambiguous: it may be --verbose, --volume"),
        (["--verbose=3"], "option '--verbose' takes no value"),
        (["--=a"], "unrecognized option '--'"),
        (["--imgae=x"], "unrecognized option '--imgae': did you mean '--image'?"),
        (["--writeable"], "unrecognized option '--writeable': did you mean '--writable'?"),
        (["--" + "x" * 70_000], f"unrecognized option '--{'x' * 32}…': see shifter --help"),
        (["--t"], "option '--t' is ambiguous: it may be --timing, --tty"),
        (["--tty=1"], "option '--tty' takes no value"),
        (["--env-file="], "--env-file names nothing: write --env-file=FILE"),
        (["-V" + "x" * 70_000], "the value of --volume is too long: at most 65536"),
        (["-m", "x" * 70_000], "the value of --module is too long"),
        (["-vZ"], "invalid option '-Z': see shifter --help"),
        (["--bind", "/a:/b"], "unrecognized option '--bind': a directory is shown elsewhere with"),
        (["-B", "/a:/b"], "invalid option '-B': a directory is shown elsewhere with --volume="),
        (["--tmpfs", "/a"], "option '--tmpfs': a directory in memory is --mount=tmpfs:/path"),
        (["--B", "/a:/b"], "unrecognized option '--B': see shifter --help"),
        (["run", "-it", "x:1"], "no image specified: 'run' is no word of shifter's: write shifter"),
        (["pull", "x:1"], "no image specified: images are the business of another command: shif"),
        (["help"], "no image specified: write shifter --help"),
        (["ubuntu:24.04", "id"], "write shifter --image=ubuntu:24.04 COMMAND"),
        (["/data:x"], "no image specified: write --image=docker:NAME:TAG"),
        (["ls"], "no image specified: write --image=docker:NAME:TAG"),
        ([], "no image specified: write --image=docker:NAME:TAG"),
        (["-V"], "option '-V' requires an argument"),
        (["--env-file"], "option '--env-file' requires an argument"),
        (["-e", "=x"], "--env '=x' is not of the form NAME=value"),
        (["-i", ""], "--image is empty: write --image=docker:NAME:TAG"),
        (["--workdir="], "--workdir= names nothing: write --workdir=DIRECTORY, or --workdir alone"),
        (["--entrypoint="], "--entrypoint= names nothing: write --entrypoint=PROGRAM"),
    ],
)
def test_a_wrong_option_is_named(words, message):
    with pytest.raises(UsageError) as raised:
        requests.parse(words, {})

    assert message in str(raised.value)


@pytest.mark.parametrize("words", [["-h"], ["--help"], ["--hel"], ["-vh"], ["-v", "-h", "--nope"]])
def test_help_needs_no_image_and_no_correct_rest(words):
    assert requests.parse(words, {}).help is True


def test_help_after_a_mistake_does_not_hide_it():
    with pytest.raises(UsageError, match="--nope"):
        requests.parse(["--nope", "--help"], {})


@pytest.mark.parametrize("text", [RUNTIME_PAGE.read_text(), usage.LONG], ids=["page", "help"])
def test_every_option_is_explained(text):
    said = set(re.findall(r"--[a-z-]+", text))

    options = {f"--{name}" for name in (*requests.LONG_OPTIONS, *requests.ADDED_OPTIONS)}
    assert options - said <= {"--modules", "--entry"}  # other spellings
    assert all(f"-{letter}" in text for letter in "viEewVmt")


def test_the_help_fits_a_terminal():
    assert max(len(line) for line in usage.LONG.splitlines()) <= 80


def test_help_in_the_command_is_the_command_s():
    assert parse("ls", "--help").help is False


def test_the_script_form_is_an_ordinary_command_line():
    request = requests.parse(["/bin/bash", "./job.sh"], {"SHIFTER": "docker:x:1"})

    assert request.command == ["/bin/bash", "./job.sh"]


PAIR = {"SHIFTER_IMAGETYPE": "docker", "SHIFTER_IMAGE": "pair:1"}


@pytest.mark.parametrize(
    ("words", "environment", "tag", "requested"),
    [
        (["-i", "typed:1"], {"SHIFTER": "docker:s:1", **PAIR}, "typed:1", "typed:1"),
        (["-i", "a:1", "-i", "b:1"], {}, "b:1", "b:1"),
        ([], {"SHIFTER": "docker:s:1", **PAIR}, "s:1", "docker:s:1"),
        ([], {"SHIFTER": "/usr/bin/shifter", **PAIR}, "pair:1", None),
        ([], {"SHIFTER": "docker", **PAIR}, "pair:1", None),
        ([], {"SHIFTER_IMAGEREQUEST": "req:1", **PAIR}, "pair:1", "req:1"),
        ([], {"SHIFTER_IMAGEREQUEST": "req:1", "SHIFTER_IMAGE": "half"}, "req:1", "req:1"),
        ([], {"SLURM_SPANK_SHIFTER_IMAGEREQUEST": "req:1"}, "req:1", "req:1"),
        (
            [],
            {**PAIR, "SLURM_SPANK_SHIFTER_IMAGETYPE": "id", "SLURM_SPANK_SHIFTER_IMAGE": "s"},
            "pair:1",
            None,
        ),
        (
            [],
            {"SHIFTER_IMAGE": "own:1", "SLURM_SPANK_SHIFTER_IMAGETYPE": "docker"},
            "own:1",
            None,
        ),
    ],
)
def test_the_image_is_chosen_in_the_documented_order(words, environment, tag, requested):
    request = requests.parse(words, environment)

    assert request.reference == ImageReference("docker", tag)
    assert request.requested_text == requested


@pytest.mark.parametrize(
    "environment",
    [
        {"SHIFTER_IMAGETYPE": "id", "SHIFTER_IMAGE": "../x"},
        {"SHIFTER_IMAGETYPE": "oci", "SHIFTER_IMAGE": "x"},
        {"SHIFTER_IMAGETYPE": "docker", "SHIFTER_IMAGE": "$(id)"},
        {"SHIFTER_IMAGEREQUEST": "a\nb"},
    ],
)
def test_images_from_the_environment_are_checked_like_typed_ones(environment):
    with pytest.raises((UsageError, InvalidReferenceError)):
        requests.parse([], environment)


@pytest.mark.parametrize("variable", ["SHIFTER_REFUSED", "SLURM_SPANK_SHIFTER_REFUSED"])
def test_a_job_that_was_refused_has_no_image_of_what_is_around_it(variable):
    around = {variable: "1", "SHIFTER_IMAGETYPE": "id", "SHIFTER_IMAGE": "a" * 64}

    with pytest.raises(SetupError, match="were refused when it was submitted"):
        requests.parse(["true"], around)
    assert requests.parse(["--image=debian:12", "true"], around).reference.tag == "debian:12"


def test_a_directory_is_an_image_where_the_site_allows_it():
    request = requests.parse(["--image=local:/x"], {}, allow_local=True)

    assert request.reference == ImageReference("local", "/x")


def test_a_directory_from_the_environment_needs_the_site_s_permission_too():
    with pytest.raises(NotPermittedError, match="allowLocalChroot"):
        requests.parse([], {"SHIFTER_IMAGETYPE": "local", "SHIFTER_IMAGE": "/x"})


def test_volumes_are_repeatable_and_keep_their_order():
    request = parse("-V/b:/x;/c:/y", "--volume", "/a:/z:ro", SHIFTER_VOLUME="/q:/q")

    assert [str(volume) for volume in request.volumes] == ["/b:/x", "/c:/y", "/a:/z:ro"]


def test_an_empty_volume_replaces_the_environment_s():
    assert parse("-V", "", SHIFTER_VOLUME="/q:/q").volumes == []


def test_modules_come_from_the_environment_unless_typed():
    assert parse(SLURM_SPANK_SHIFTER_MODULE="a,b").modules == ["a", "b"]
    assert parse("-m", "c", SHIFTER_MODULE="a").modules == ["c"]
    assert parse().modules is None


@pytest.mark.parametrize("name", ["SHIFTER_VOLUME", "SLURM_SPANK_SHIFTER_MODULE"])
def test_a_variable_that_is_too_long_is_named(name):
    with pytest.raises(UsageError, match="the value of .* is too long"):
        parse(**{name: "x" * 70_000})


def test_a_long_value_of_a_variable_is_the_kernels_business():
    assert parse("-e", "A=" + "x" * 100_000).env_overrides == [("A", "x" * 100_000)]


def test_minus_i_alone_is_the_image_and_not_dockers_word():
    assert requests.parse(["-i", "t:1"], {}).reference == ImageReference("docker", "t:1")


def test_bytes_that_are_not_utf_8_are_kept():
    request = parse("-e", "A=\udce9", "\udcff", B="\udcfe")

    assert request.env_overrides == [("A", "\udce9")]
    assert request.command == ["\udcff"]
    assert request.environment == {"B": "\udcfe"}


def test_a_hundred_thousand_options_are_read():
    request = parse(*["-eA=1"] * 100_000, *["-V/a:/b"] * 1000)

    assert len(request.env_overrides) == 100_000
    assert len(request.volumes) == 1000


def test_the_environment_of_the_caller_is_not_changed():
    environment = {"SHIFTER": "docker:x:1"}

    requests.parse([], environment).environment["A"] = "1"

    assert environment == {"SHIFTER": "docker:x:1"}


def test_usage_names_the_options_of_the_original_in_their_order():
    described = (GOLDEN / "shifter_help.txt").read_text()
    section = described.partition("in this order\n")[2].partition("\n\n")[0]
    options = [word.partition("=")[0].partition("[")[0] for word in section.split()]
    options = [option for option in options if option.startswith("--") and option != "--"]

    places = [usage.SHORT.find(option) for option in dict.fromkeys(options)]

    assert len(places) == 10
    assert -1 not in places
    assert usage.SHORT.startswith("\n")
    assert usage.SHORT.endswith("\n\n")


def test_help_has_the_sections_of_the_original_in_their_order():
    sections = [
        *("Image Selection", "Command Selection", "--workdir", "Environmental Transfer"),
        *("Order of precedence", "Shifter Module Support", "Volume Mapping"),
    ]

    places = [usage.LONG.find(f"\n{name}") for name in sections]
    places[4] = usage.LONG.find("\n  Order of precedence")

    assert -1 not in places
    assert places == sorted(places)
    assert usage.LONG.startswith(usage.SHORT)
