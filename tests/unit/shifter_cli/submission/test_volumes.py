# SPDX-License-Identifier: BSD-3-Clause
"""Volumes of a job: what is put into them, what is refused, and what is only doubted."""

from __future__ import annotations

import os
import pwd

import pytest

from shifter_runtime import volumes
from shifter_runtime.errors import VolumeError
from tests.unit.shifter_cli.submission.conftest import IMAGE_ID
from tests.unit.shifter_runtime.test_volumes import check, recorded

BY_ID = f"--image=id:{IMAGE_ID}"
CACHES = "perNodeCachePath=/caches\nperNodeCacheSizeLimit=1G"


@pytest.fixture
def environment(monkeypatch):
    """What the user has set."""
    for name, value in {"HOME": "/home/alice", "SCRATCH": "/scratch/al", "EMPTY": ""}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.delenv("NOT_SET", raising=False)
    return monkeypatch.setenv


@pytest.mark.parametrize(
    ("typed", "handed_on"),
    [
        ("$HOME/x:/data", "/home/alice/x:/data"),
        ("${SCRATCH}/x:/data:ro", "/scratch/al/x:/data:ro"),
        ("${SCRATCH}x:/data", "/scratch/alx:/data"),
        ("~/x:/data", "/home/alice/x:/data"),
        ("~:/data", "/home/alice:/data"),
        ("$HOME:$HOME", "/home/alice:/home/alice"),
        ("/a:$SCRATCH/b", "/a:/scratch/al/b"),
        ("/users/$SCRATCH/x:/data", "/users/scratch/al/x:/data"),
        ("/a:/b;~/c:/d", "/a:/b;/home/alice/c:/d"),
        (" $HOME : /d ", "/home/alice:/d"),
        ('"$HOME/x:/d;~/y:/e"', "/home/alice/x:/d;/home/alice/y:/e"),
        ("'~':'/d'", "/home/alice:/d"),
        ("/a$HOME:/d", "/a$HOME:/d"),
        ("/a/~:/d", "/a/~:/d"),
        ("/a/$:/d", "/a/$:/d"),
        ("/a/$5:/d", "/a/$5:/d"),
    ],
)
def test_variables_at_the_start_of_a_part_are_the_submitting_users(
    typed, handed_on, submit, environment
):
    answer = submit(BY_ID, f"--volume={typed}")

    assert (answer.said, answer.records["SHIFTER_VOLUME"]) == ("", handed_on)


@pytest.mark.parametrize("name", ["NOT_SET", "EMPTY"])
def test_variable_without_a_value_is_named(name, refused, environment):
    assert refused(BY_ID, f"--volume=/a:/b;${name}/x:/data") == (
        f"shifter: volume '${name}/x:/data': {name} is not set where you submit from: set it, or "
        "write the path\n"
    )


@pytest.mark.parametrize("value", ["/a:/b", "/a;/etc:/b", '/a"', "/a'", "/a\n", " /a", "/a\x1b"])
def test_variable_cannot_change_what_a_volume_means(value, refused, environment):
    environment("ODD", value)

    assert f"ODD is {value!r} where you submit from" in refused(BY_ID, "--volume=$ODD/x:/data")


def test_variable_leads_to_no_reserved_place(refused, environment):
    environment("PLACE", "/etc")

    assert "cannot mount at /etc/x, below /etc" in refused(BY_ID, "--volume=/a:$PLACE/x")


@pytest.mark.parametrize("typed", ["${HOME", "${}/x", "${A-B}/x", "${1}"])
def test_what_is_no_variable_is_refused(typed, refused, environment):
    assert "is no variable: write $NAME or ${NAME}" in refused(BY_ID, f"--volume={typed}:/data")


def test_home_is_that_of_the_account_where_the_environment_has_none(submit, monkeypatch):
    monkeypatch.delenv("HOME")

    answer = submit(BY_ID, "--volume=~/x:/data")

    home = pwd.getpwuid(os.getuid()).pw_dir
    assert answer.records["SHIFTER_VOLUME"] == f"{home}/x:/data"


@pytest.mark.parametrize("source", ["./x", "../x", "."])
def test_relative_source_is_refused_with_what_to_write(source, refused):
    assert refused(BY_ID, f"--volume={source}:/data") == (
        f"shifter: volume '{source}:/data': the source {source!r} is not an absolute path: $PWD is "
        "where you submit from\n"
    )


def test_repeated_volumes_add_up_in_their_order(submit):
    answer = submit(BY_ID, "--volume=/z:/y;/b:/c:RO", "--volume=/a//x/:/d")

    assert answer.records["SHIFTER_VOLUME"] == "/z:/y;/b:/c:ro;/a/x:/d"


def test_empty_volume_is_none(submit):
    assert "SHIFTER_VOLUME" not in submit(BY_ID, "--volume=").records


def test_volumes_without_an_image_are_refused(refused):
    assert refused("--volume=/a:/b") == (
        "shifter: --volume is of no use without --image: name the image, too\n"
    )


def test_path_that_could_not_be_passed_on_is_refused(refused):
    assert "no path may begin or end with white space" in refused(BY_ID, '--volume="/a ":/b')


def test_source_that_the_site_does_not_have_is_a_warning(submit, tmp_path):
    (tmp_path / "home").mkdir()

    answer = submit(BY_ID, "--volume=/home/alice/x:/data", conf=f"siteFs={tmp_path}/home:/home")

    assert answer.records["SHIFTER_VOLUME"] == "/home/alice/x:/data"
    assert answer.said == (
        f"shifter: warning: volume '/home/alice/x:/data': {tmp_path}/home/alice/x: No such file or "
        "directory; without it on its nodes, the job will not start\n"
    )


@pytest.mark.parametrize(
    "volume",
    [
        "/home/there:/data",  # is there
        "/data/x:/mnt",  # is in the image, or not
        "/homes/x:/mnt",  # is not below /home
        "/nodes/x:/mnt",  # a directory that this machine has not
        "/home/there:/home/new;/home/new/x:/mnt",  # in another volume
        "/home/x:/mnt:perNodeCache=size=512M",  # needs no source
    ],
)
def test_source_that_cannot_be_known_here_is_no_warning(volume, submit, tmp_path):
    (tmp_path / "home/there").mkdir(parents=True)
    conf = f"{CACHES}\nsiteFs={tmp_path}/home:/home;{tmp_path}/nodes:/nodes"

    answer = submit(BY_ID, f"--volume={volume}", conf=conf)

    assert (answer.code, answer.said) == (0, "")


def test_nearest_directory_of_the_site_is_looked_into(submit, tmp_path):
    (tmp_path / "a").mkdir()
    (tmp_path / "b/x").mkdir(parents=True)

    answer = submit(
        BY_ID, "--volume=/home/b/x:/data", conf=f"siteFs={tmp_path}/a:/home;{tmp_path}/b:/home/b"
    )

    assert answer.said == ""


@pytest.mark.parametrize(
    ("cache", "conf", "sentence"),
    [
        ("size=512M", "", "perNodeCache cannot be had here"),
        ("size=2G", CACHES, "perNodeCache may have at most 1073741824 bytes"),
        ("size=100M", CACHES, "perNodeCache needs at least"),
        (
            "size=512M",
            f"{CACHES}\nperNodeCacheAllowedFsType=ext4",
            "perNodeCache with fs=xfs is not allowed here",
        ),
    ],
)
def test_cache_that_the_site_does_not_allow_is_refused(cache, conf, sentence, refused):
    assert sentence in refused(BY_ID, f"--volume=/x:/mnt:perNodeCache={cache}", conf=conf)


@pytest.mark.parametrize(("spec", "result", "canonical"), recorded("user"))
def test_volumes_mean_what_they_meant_to_the_original(spec, result, canonical, submit, monkeypatch):
    # A size that no XFS can have is refused by the site's rules, of which the original had none.
    monkeypatch.setattr("shifter_cli.submission.volumes.require_allowed", lambda *_: None)

    def parse(spec):
        answer = submit(BY_ID, f"--volume={spec}")
        if answer.code:
            raise VolumeError(answer.said)
        return volumes.parse_user(answer.records.get("SHIFTER_VOLUME", ""))

    check(parse, spec, result, canonical)
