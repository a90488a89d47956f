# SPDX-License-Identifier: BSD-3-Clause
from __future__ import annotations

import pytest

from shifter_imagegw.errors import PullError
from shifter_imagegw.pulling import location
from shifter_imagegw.pulling.location import Source

URLS = {
    "default": "https://registry-1.docker.io",
    "otherreg": "http://127.0.0.1:5001",
    "reg.site.gov": "https://reg.site.gov",
}


def choose(tag, urls=URLS, default="default"):
    return location.choose(tag, urls, default)


@pytest.mark.parametrize(
    ("tag", "expected", "name"),
    [
        ("ubuntu:24.04", "default", "ubuntu:24.04"),
        ("lib/foo:1", "default", "lib/foo:1"),
        ("lib/foo@sha256:00", "default", "lib/foo@sha256:00"),
        ("otherreg/lib/foo:1", "otherreg", "lib/foo:1"),
        ("otherreg:2", "default", "otherreg:2"),
        ("reg.site.gov/foo", "reg.site.gov", "foo"),
        ("127.0.0.1:5001/lib/foo:1", "otherreg", "lib/foo:1"),
        ("docker.io/library/foo:1", "default", "library/foo:1"),
        ("index.docker.io/foo:1", "default", "foo:1"),
    ],
)
def test_the_first_component_of_a_tag_may_name_a_location(tag, expected, name):
    assert choose(tag) == Source(location=expected, name=name)


def test_docker_hub_is_found_under_any_of_its_names():
    urls = {"site": "https://reg.site.gov", "index.docker.io": "https://elsewhere.example"}

    assert choose("docker.io/foo:1", urls, "site").location == "index.docker.io"


def test_a_host_that_is_no_location_is_tried_as_repository_but_remembered():
    source = choose("quay.io/lib/foo:1")

    assert (source.location, source.name) == ("default", "quay.io/lib/foo:1")
    assert source.hint == (
        "'quay.io' is no configured location: the gateway knows default, otherreg, reg.site.gov"
    )


def test_docker_hub_that_is_no_location_is_remembered_too():
    urls = {"site": "https://reg.site.gov"}

    assert "'docker.io' is no configured location" in choose("docker.io/foo", urls, "site").hint


@pytest.mark.parametrize("tag", ["host:5000/lib/foo:1", "10.0.0.1:80/foo"])
def test_a_host_with_a_port_must_be_a_location(tag):
    with pytest.raises(PullError, match=rf"cannot pull '{tag}': .* is no configured location"):
        choose(tag)
