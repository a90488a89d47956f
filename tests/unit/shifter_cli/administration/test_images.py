# SPDX-License-Identifier: BSD-3-Clause
from __future__ import annotations

import json
import time

import pytest

DAY = 86400.0


def image(tag, *, size=1_000_000, puller=1, days=30.0, **more):
    return {
        "id": tag[0] * 64, "system": "mycluster", "itype": "docker", "tag": [tag],
        "status": "READY", "last_pull": 1795167238.5, "size": size, "puller": puller,
        "expiration": time.time() + days * DAY, "userACL": [], "groupACL": [], "private": False,
    } | more  # fmt: skip


IMAGES = [
    image("big:1", size=7_000_000_000),
    image("app:1", puller=2, private=True, userACL=[2, 3], groupACL=[5]),
    image("old:1", puller=None, days=-1, expiration=time.time() - DAY),
    image("secret:1", private=True, size=None),
]


@pytest.fixture
def listed(run, gateway):
    gateway.answer({"list": IMAGES})

    def listed(*arguments):
        result = run("images", "--json", *arguments)
        assert result.code == 0
        return [row["tag"][0] for row in json.loads(result.stdout)]

    return listed


def test_images_are_listed_with_owner_size_and_access(run, gateway):
    gateway.answer({"list": IMAGES})

    lines = run("images").stdout.splitlines()

    assert lines[0].split() == ["OWNER", "SIZE", "PULLED", "EXPIRES", "ACCESS", "IMAGE"]
    assert lines[1].split()[:3] == ["user2", "1.0", "MB"]
    assert lines[1].split()[-4:] == ["2", "u", "1", "g", "app:1"][-4:]
    assert [line.split()[-1] for line in lines[1:-1]] == ["app:1", "big:1", "old:1", "secret:1"]
    assert " all " in lines[2] and " owner " in lines[4]
    assert lines[-1] == "4 images, 7.0 GB"


@pytest.mark.parametrize(
    ("arguments", "found"),
    [
        ((), ["app:1", "big:1", "old:1", "secret:1"]),
        (("--sort", "size"), ["big:1", "app:1", "old:1", "secret:1"]),
        (("--sort", "expiry"), ["old:1", "big:1", "app:1", "secret:1"]),
        (("--owner", "user2"), ["app:1"]),
        (("--owner", "1"), ["big:1", "secret:1"]),
        (("--larger", "1.5G"), ["big:1"]),
        (("--expires-within", "0"), ["old:1"]),
        (("--private",), ["app:1", "secret:1"]),
        (("ap",), ["app:1"]),
        (("docker:b*",), ["big:1"]),
        (("*:2",), []),
    ],
    ids=str,
)
def test_images_can_be_chosen_and_sorted(listed, arguments, found):
    if "expiry" in arguments:
        assert listed(*arguments)[0] == found[0]
    else:
        assert listed(*arguments) == found


def test_no_image_is_said_in_words(run, gateway):
    gateway.answer({"list": []})

    assert run("images").stdout == "no image\n"


@pytest.mark.parametrize("size", ["x", "3X", ""])
def test_a_size_that_is_none_is_refused(run, size):
    result = run("images", "--larger", size)

    assert result.code == 1
    assert "is no size: write it as 500M or 1.5G" in result.stderr
