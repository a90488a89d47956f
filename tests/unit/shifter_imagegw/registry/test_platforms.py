# SPDX-License-Identifier: BSD-3-Clause
from __future__ import annotations

import os

import pytest

from shifter_imagegw.registry import Platform, RegistryError


@pytest.mark.parametrize(
    ("text", "platform"),
    [
        ("linux/amd64", Platform("linux", "amd64")),
        ("linux/arm64/v8", Platform("linux", "arm64", "v8")),
        ("Linux/x86_64", Platform("linux", "amd64")),
        ("linux/aarch64", Platform("linux", "arm64")),
        ("linux/armv6l", Platform("linux", "arm", "v6")),
    ],
)
def test_a_platform_is_read_as_images_and_people_write_it(text, platform):
    assert Platform.parse(text) == platform


@pytest.mark.parametrize("text", ["linux/amd64", "linux/arm64/v8"])
def test_a_platform_is_written_as_it_is_read(text):
    assert str(Platform.parse(text)) == text


@pytest.mark.parametrize("text", ["", "linux", "linux/", "/amd64", "a/b/c/d", "linux//v8"])
def test_what_is_no_platform_is_refused(text):
    with pytest.raises(RegistryError, match="is no platform"):
        Platform.parse(text)


def test_the_hosts_platform_is_that_of_its_kernel():
    assert Platform.host() == Platform.parse(f"{os.uname().sysname}/{os.uname().machine}")


@pytest.mark.parametrize(
    ("wanted", "offered", "best"),
    [
        ("linux/amd64", ["windows/amd64", "linux/arm64", "linux/amd64"], "linux/amd64"),
        ("linux/amd64", ["linux/amd64/v2", "linux/amd64"], "linux/amd64"),
        ("linux/amd64", ["linux/amd64/v2"], None),
        ("linux/amd64/v3", ["linux/amd64", "linux/amd64/v2", "linux/amd64/v4"], "linux/amd64/v2"),
        ("linux/amd64/v3", ["linux/amd64/v2", "linux/amd64/v3"], "linux/amd64/v3"),
        ("linux/arm64", ["linux/arm64/v8"], "linux/arm64/v8"),
        ("linux/arm64/v8", ["linux/arm64"], "linux/arm64"),
        ("linux/arm64", ["linux/arm64/v9", "linux/arm64/v8"], "linux/arm64/v8"),
        ("linux/arm/v7", ["linux/arm/v5", "linux/arm/v6", "linux/arm64"], "linux/arm/v6"),
        ("linux/arm/v6", ["linux/arm", "linux/arm/v5"], "linux/arm/v5"),
        ("linux/ppc64le", ["linux/ppc64le"], "linux/ppc64le"),
        ("linux/s390x", ["linux/ppc64le"], None),
    ],
)
def test_the_newest_variant_that_runs_suits_best(wanted, offered, best):
    wanted = Platform.parse(wanted)
    suitable = {
        text: score
        for text in offered
        if (score := wanted.suitability(Platform.parse(text))) is not None
    }

    assert max(suitable, key=suitable.__getitem__, default=None) == best
