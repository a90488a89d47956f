# SPDX-License-Identifier: BSD-3-Clause
"""--container-image and --container-mounts, as people who come from pyxis write them."""

from __future__ import annotations

import pytest

from tests.unit.shifter_cli.submission.conftest import IMAGE_ID

BY_ID = f"--image=id:{IMAGE_ID}"


@pytest.mark.parametrize(
    ("typed", "pinned"),
    [
        ("ubuntu", "docker:ubuntu:latest"),
        ("ubuntu:24.04", "docker:ubuntu:24.04"),
        ("docker://ubuntu:24.04", "docker:ubuntu:24.04"),
        ("nvcr.io#nvidia/pytorch:24.01-py3", "docker:nvcr.io/nvidia/pytorch:24.01-py3"),
        ("docker://nvcr.io#nvidia/x:1", "docker:nvcr.io/nvidia/x:1"),
        ("$oauthtoken@nvcr.io#nvidia/x:1", "docker:nvcr.io/nvidia/x:1"),
        ("me@host:5000#x:1", "docker:host:5000/x:1"),
        ("me@ubuntu:1", "docker:ubuntu:1"),
        (f"python@sha256:{IMAGE_ID}", f"docker:python@sha256:{IMAGE_ID}"),
        (f"me@host#python@sha256:{IMAGE_ID}", f"docker:host/python@sha256:{IMAGE_ID}"),
        ("docker:dind", "docker:docker:dind"),
        ("custom:tool:1", "custom:tool:1"),
    ],
)
def test_images_of_registries_are_found(typed, pinned, submit, gateway):
    gateway.answer({"id": IMAGE_ID})

    answer = submit(f"--container-image={typed}", default_type="custom")

    assert answer.records["SHIFTER_PINNED_REQUEST"] == pinned


@pytest.mark.parametrize("path", ["/data/x.sqsh", "./x.sqsh", "../root"])
def test_files_are_refused_with_the_commands_that_help(path, refused):
    said = refused(f"--container-image={path}")

    assert f"shifterimg import {path} NAME:TAG makes an image of it" in said
    assert "--image=custom:NAME:TAG runs that" in said


@pytest.mark.parametrize("scheme", ["dockerd", "podman"])
def test_images_of_a_daemon_are_refused(scheme, refused):
    said = refused(f"--container-image={scheme}://ubuntu")

    assert f"images of {scheme} have to be saved and imported" in said


@pytest.mark.parametrize(
    "words", [("--image=b", "--container-image=a"), ("--container-image=a", "--image=b")]
)
def test_two_images_are_refused(words, refused):
    assert "--image=b and --container-image=a are two images" in refused(*words)


def test_the_same_image_twice_is_one(submit, images):
    images()

    assert submit(BY_ID, f"--container-image=id:{IMAGE_ID}").code == 0


@pytest.mark.parametrize(
    ("mounts", "volumes"),
    [
        ("/a:/b", "/a:/b"),
        ("/a", "/a:/a"),
        ("/a:/b:ro,/c,/d:/e:rw", "/a:/b:ro;/c:/c;/d:/e"),
        (",/a:/b,", "/a:/b"),
        ("$HOME", "/home/alice:/home/alice"),
        ("~/x:/data", "/home/alice/x:/data"),
    ],
)
def test_mounts_are_volumes(mounts, volumes, submit, monkeypatch):
    monkeypatch.setenv("HOME", "/home/alice")

    answer = submit(BY_ID, f"--container-mounts={mounts}")

    assert answer.records["SHIFTER_VOLUME"] == volumes


def test_mounts_and_volumes_add_up(submit):
    answer = submit(BY_ID, "--volume=/a:/b", "--container-mounts=/c", "--volume=/d:/e")

    assert answer.records["SHIFTER_VOLUME"] == "/a:/b;/c:/c;/d:/e"


@pytest.mark.parametrize("flag", ["nosuid", "ro+rprivate", "RO", "x-create=dir"])
def test_other_flags_are_refused_by_name(flag, refused):
    unknown = flag.rpartition("+")[2]

    said = refused(BY_ID, f"--container-mounts=/a:/b:{flag}")

    assert f"'/a:/b:{flag}' has the flag {unknown!r}: only ro and rw are known here" in said


@pytest.mark.parametrize(
    ("mounts", "sentence"),
    [
        ("/a:/b:ro+rw", "'/a:/b:ro+rw' is to be both ro and rw"),
        ("/a:/b;/c:/d", "no path may hold ';'"),
        ("/a:/etc", "cannot mount over /etc"),
        ("a:/b", "the source 'a' is not an absolute path"),
    ],
)
def test_what_is_no_mount_is_refused(mounts, sentence, refused):
    assert sentence in refused(BY_ID, f"--container-mounts={mounts}")
