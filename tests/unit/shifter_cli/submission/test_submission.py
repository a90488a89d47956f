# SPDX-License-Identifier: BSD-3-Clause
"""What a job gets that asks for images, modules and --ccm, and what refuses it."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from tests.unit.shifter_cli.submission.conftest import IMAGE_ID

MODULES = """\
module_mpich_siteEnv=A=b
module_mpich_conflict=openmpi
module_openmpi_siteEnv=A=c
module_old_enabled=0
"""


def test_nothing_asked_is_nothing_answered(submit):
    answer = submit()

    assert (answer.code, answer.records, answer.said) == (0, {}, "")


def test_image_is_pinned_to_the_id_that_its_name_has_now(submit, gateway):
    gateway.answer({"id": IMAGE_ID})

    answer = submit("--image=docker:ubuntu:24.04")

    assert (answer.code, answer.said) == (0, "")
    assert answer.records == {
        "SHIFTER_IMAGETYPE": "id",
        "SHIFTER_IMAGE": IMAGE_ID,
        "SHIFTER_IMAGEREQUEST": "ubuntu:24.04",
        "SHIFTER_PINNED_REQUEST": "docker:ubuntu:24.04",
    }
    assert len(gateway.requests) == 1


@pytest.mark.parametrize(
    ("typed", "pinned"),
    [
        ("ubuntu", "docker:ubuntu:latest"),
        ("docker://ubuntu", "docker:ubuntu:latest"),
        ("docker:host.example:5000/lib/x", "docker:host.example:5000/lib/x:latest"),
        (f"python@sha256:{IMAGE_ID}", f"docker:python@sha256:{IMAGE_ID}"),
        ("custom:tool:1", "custom:tool:1"),
    ],
)
def test_all_spellings_of_a_name_are_pinned_as_one(typed, pinned, submit, gateway):
    gateway.answer({"id": IMAGE_ID})

    assert submit(f"--image={typed}").records["SHIFTER_PINNED_REQUEST"] == pinned


def test_type_is_the_sites_default(submit, gateway):
    gateway.answer({"id": IMAGE_ID})

    answer = submit("--image=tool:1", default_type="custom")

    assert answer.records["SHIFTER_PINNED_REQUEST"] == "custom:tool:1"


def test_image_by_id_needs_no_gateway(submit, gateway, images):
    images()

    answer = submit(f"--image=id:{IMAGE_ID}")

    assert (answer.code, answer.said, gateway.requests) == (0, "", [])
    assert answer.records == {
        "SHIFTER_IMAGETYPE": "id",
        "SHIFTER_IMAGE": IMAGE_ID,
        "SHIFTER_IMAGEREQUEST": IMAGE_ID,
    }


@pytest.mark.parametrize("image_id", ["abc", "A" * 64, "g" * 64, "a" * 65])
def test_what_is_no_id_is_refused(image_id, refused):
    assert refused(f"--image=id:{image_id}") == (
        f"shifter: {image_id!r} is no image id: an id is 64 lower-case hexadecimal digits, as "
        "shifterimg lookup prints it\n"
    )


def test_id_that_is_not_here_is_a_warning_since_nodes_may_have_it(submit, images, tmp_path):
    images("c" * 64)

    answer = submit(f"--image=id:{IMAGE_ID}")

    assert answer.code == 0
    assert answer.said.startswith(f"shifter: warning: there is no image {IMAGE_ID} in {tmp_path}")


def test_machine_that_sees_no_images_says_nothing_of_them(submit):
    answer = submit(f"--image=id:{IMAGE_ID}")

    assert (answer.code, answer.said) == (0, "")


def test_id_of_somebody_elses_image_is_refused_as_a_launch_would_be(refused, images):
    other = os.getuid() + 1
    images(meta=f"FORMAT: squashfs\nUSERACL: {other}\n")

    assert f"permission denied to image {IMAGE_ID}: neither you (" in refused(
        f"--image=id:{IMAGE_ID}"
    )


def test_own_image_is_accepted_by_id(submit, images):
    images(meta=f"FORMAT: squashfs\nUSERACL: {os.getuid()}\n")

    assert submit(f"--image=id:{IMAGE_ID}").said == ""


def test_directory_of_the_nodes_is_an_image_where_the_site_allows_it(submit):
    answer = submit("--image=local:/opt/root", conf="allowLocalChroot=1")

    assert answer.records == {
        "SHIFTER_IMAGETYPE": "local",
        "SHIFTER_IMAGE": "/opt/root",
        "SHIFTER_IMAGEREQUEST": "/opt/root",
    }


def test_directory_is_refused_where_the_site_does_not_allow_it(refused):
    said = refused("--image=local:/opt/root")

    assert said.startswith("shifter: image 'local:/opt/root' cannot be had: this site does not")


def test_relative_directory_is_refused(refused):
    said = refused("--image=local:opt", conf="allowLocalChroot=1")

    assert said == "shifter: 'local:opt': a local image is an absolute path\n"


def test_ccm_runs_on_the_system_of_the_nodes(submit):
    answer = submit("--ccm", conf="allowLocalChroot=1")

    assert answer.records == {
        "SHIFTER_CCM": "1",
        "SHIFTER_IMAGETYPE": "local",
        "SHIFTER_IMAGE": "/",
    }


def test_ccm_may_name_the_system_of_the_nodes(submit):
    answer = submit("--ccm", "--image=local:/", conf="allowLocalChroot=1")

    assert (answer.code, answer.records["SHIFTER_IMAGE"]) == (0, "/")


def test_ccm_with_an_image_is_refused(refused):
    said = refused("--ccm", "--image=ubuntu:1", conf="allowLocalChroot=1")

    assert "--ccm runs a job on the system of the nodes, not in image 'docker:ubuntu:1'" in said


def test_ccm_is_refused_where_containers_of_directories_are(refused):
    assert "--ccm cannot be had" in refused("--ccm")


@pytest.mark.parametrize(
    ("typed", "handed_on"),
    [("mpich", "mpich"), ("mpich,,mpich", "mpich"), ("none", "none"), ("", "none")],
)
def test_modules_are_handed_on(typed, handed_on, submit):
    answer = submit(f"--module={typed}", conf=MODULES)

    assert answer.records == {"SHIFTER_MODULE": handed_on}


@pytest.mark.parametrize(
    ("typed", "sentence"),
    [
        ("mpic", "unknown module 'mpic', did you mean 'mpich'? this site offers mpich, openmpi"),
        ("old", "module 'old' is not enabled on this site; this site offers mpich, openmpi"),
        (
            "openmpi,mpich",
            "modules 'openmpi' and 'mpich' exclude each other: choose one of them",
        ),
        (
            "none,mpich",
            "module 'none' means no modules at all, so it cannot stand beside others: 'none,mpich'",
        ),
    ],
)
def test_modules_that_cannot_be_had_are_refused(typed, sentence, refused):
    said = refused(f"--module={typed}", "--image=ubuntu", conf=MODULES)

    assert said == f"shifter: {sentence}\n"


def test_last_image_and_last_modules_count(submit, images):
    images()

    answer = submit(
        "--image=ubuntu", f"--image=id:{IMAGE_ID}", "--module=x", "--module=none", conf=MODULES
    )

    assert (answer.records["SHIFTER_IMAGE"], answer.records["SHIFTER_MODULE"]) == (IMAGE_ID, "none")


def test_empty_image_is_refused_with_an_example(refused):
    assert refused("--image=") == ("shifter: --image is empty: write --image=docker:NAME:TAG\n")


@pytest.mark.parametrize("name", ["image", "volume", "module", "container-image"])
@pytest.mark.parametrize("character", ["\n", "\x1b", "\r", "\x7f"])
def test_control_characters_are_refused_and_not_repeated(name, character, refused):
    said = refused(f"--{name}=/a{character}[2J:/b", f"--image=id:{IMAGE_ID}")

    assert f"the value of --{name} holds the control character {character!r}" in said
    assert character not in said.removesuffix("\n")


@pytest.mark.parametrize("word", ["--imag=x", "--image", "--pull=yes", "image=x", "-i", ""])
def test_unknown_words_are_refused(word, refused):
    assert refused(word) == f"shifter: the Slurm plugin asks what nobody here knows: {word!r}\n"


def test_value_beyond_what_the_runtime_reads_is_refused(refused):
    said = refused(f"--image={'x' * 65537}")

    assert said == "shifter: the value of --image is too long: at most 65536 characters are read\n"


def test_long_image_name_is_refused(refused):
    said = refused(f"--image={'x' * 60000}")

    assert said == "shifter: image name is 60000 characters long, at most 512 are allowed\n"


def test_job_cannot_take_more_than_fits_into_an_environment(refused, images):
    images()
    volumes = ";".join(f"/a{number}:/b{number}" for number in range(4000))

    said = refused(f"--image=id:{IMAGE_ID}", f"--volume={volumes}", f"--volume={volumes}")

    assert "may take 65536 bytes" in said


def test_missing_configuration_is_told(config_path, capfd):
    from shifter_cli import submission

    with pytest.raises(SystemExit) as end:
        submission.main(str(config_path), ["--image=x"])

    assert end.value.code == 1
    assert capfd.readouterr().err.startswith(f"shifter: cannot read {config_path}: ")


PROGRAM = "import sys; from shifter_cli.submission import main; main(sys.argv[1], sys.argv[2:])"


def run_alone(config_path, *words, prelude="", **options):
    """The program in an interpreter of its own, after what `prelude` says."""
    options = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE} | options
    return subprocess.run(
        [sys.executable, "-I", "-c", f"{prelude}\n{PROGRAM}", config_path, *words],
        stdin=subprocess.DEVNULL, timeout=60, check=False, **options,
    )  # fmt: skip


def test_bytes_of_any_encoding_reach_the_job_as_they_were_typed(submit, config_path, images):
    images()
    submit()  # writes the configuration

    answer = run_alone(
        config_path, b"--image=id:" + IMAGE_ID.encode(), b"--volume=/h\xf6me:/d\xc3\xa4ta",
        env={"LC_ALL": "C"},
    )  # fmt: skip

    assert (answer.returncode, answer.stderr) == (0, b"")
    assert b"SHIFTER_VOLUME=/h\xf6me:/d\xc3\xa4ta\0" in answer.stdout


def test_image_by_id_loads_nothing_that_speaks_http(submit, config_path, images):
    images()
    submit()
    prelude = "import atexit, sys; atexit.register(lambda: print(*sys.modules, file=sys.stderr))"

    answer = run_alone(
        config_path, f"--image=id:{IMAGE_ID}", "--volume=/a:/b", "--module=none", prelude=prelude
    )

    loaded = set(answer.stderr.decode().split())
    assert answer.returncode == 0
    assert "shifter_runtime.volumes" in loaded
    assert loaded.isdisjoint({"http.client", "requests", "click", "ssl", "subprocess"})


def test_no_answer_is_left_when_the_plugin_is_gone(submit, config_path, images):
    images()
    submit()
    reading, writing = os.pipe()
    os.close(reading)

    with open(writing, "wb") as pipe:
        answer = run_alone(config_path, f"--image=id:{IMAGE_ID}", stdout=pipe)

    assert answer.returncode == 1
    assert answer.stderr == b"shifter: cannot hand the answer over: Broken pipe\n"


def test_closed_standard_error_fails_nothing(submit, config_path, images):
    images("c" * 64)
    submit()

    answer = run_alone(
        config_path, f"--image=id:{IMAGE_ID}", stderr=None, preexec_fn=lambda: os.close(2)
    )

    assert answer.returncode == 0
    assert b"SHIFTER_IMAGE=" in answer.stdout
