# SPDX-License-Identifier: BSD-3-Clause
from __future__ import annotations

import pytest

from shifter_imagegw.registry import Endpoint, InvalidNameError, RegistryError, RepositoryName
from shifter_imagegw.registry.endpoint import Origin

HEX = "0123456789abcdef" * 4
DIGEST = f"sha256:{HEX}"


@pytest.mark.parametrize(
    ("text", "repository", "tag", "digest"),
    [
        ("ubuntu", "ubuntu", "latest", None),
        ("ubuntu:24.04", "ubuntu", "24.04", None),
        ("ns/name:Tag_1.0-x", "ns/name", "Tag_1.0-x", None),
        ("a/b/c/d", "a/b/c/d", "latest", None),
        (f"name@{DIGEST}", "name", None, DIGEST),
        (f"name:tag@{DIGEST}", "name", "tag", DIGEST),
        ("a__b/c.d/e---f:1", "a__b/c.d/e---f", "1", None),
    ],
)
def test_a_docker_tag_is_a_repository_and_what_is_wanted_of_it(text, repository, tag, digest):
    assert RepositoryName.parse(text) == RepositoryName(repository, tag, digest)


@pytest.mark.parametrize("text", ["ubuntu:1", "a/b:t", f"a@{DIGEST}", f"a:t@{DIGEST}"])
def test_a_name_is_written_as_it_was_read(text):
    assert str(RepositoryName.parse(text)) == text


@pytest.mark.parametrize(
    "text",
    [
        "",
        ":tag",
        "name:",
        "name@",
        "Name",
        "a//b",
        "/a",
        "a/",
        "../a",
        "a/../b",
        "a_-b",
        "a___b",
        ".a",
        "a b",
        "a\n",
        "a:t\n",
        "a?x=y",
        "a%2fb",
        "ü",
        "a:.tag",
        "a:" + "t" * 129,
        "a" * 256,
        "a@sha256:123",
        f"a@sha512:{HEX}{HEX}",
        f"a@{DIGEST.upper()}",
        f"a@{DIGEST}@{DIGEST}",
        "a:1:2",
    ],
)
def test_what_no_registry_can_hold_is_refused(text):
    with pytest.raises(InvalidNameError, match="image name"):
        RepositoryName.parse(text)


def test_a_registry_that_is_no_location_is_pointed_out(text="localhost:5000/ns/name:tag"):
    with pytest.raises(InvalidNameError, match="'localhost:5000' looks like a registry"):
        RepositoryName.parse(text)


def test_a_hostile_name_is_refused_in_no_time():
    with pytest.raises(InvalidNameError):
        RepositoryName.parse("a" + "-" * 250 + "!")


@pytest.mark.parametrize(
    ("url", "name", "repository"),
    [
        ("https://registry-1.docker.io", "ubuntu", "library/ubuntu"),
        ("https://index.docker.io", "ubuntu", "library/ubuntu"),
        ("https://docker.io", "ubuntu", "library/ubuntu"),
        ("https://docker.io", "ns/app", "ns/app"),
        ("https://notdocker.io", "ubuntu", "ubuntu"),
        ("https://docker.io.example", "ubuntu", "ubuntu"),
    ],
)
def test_docker_hub_keeps_official_images_in_its_library(url, name, repository):
    assert RepositoryName.parse(name).at(Endpoint(url)).repository == repository


@pytest.mark.parametrize(
    ("url", "api"),
    [
        ("https://registry.example", "https://registry.example/v2/x"),
        ("registry.example:5000", "https://registry.example:5000/v2/x"),
        ("https://registry.example/base/", "https://registry.example/v2/x"),
        ("HTTP://Registry.Example:80", "http://registry.example/v2/x"),
        ("https://[::1]:5000", "https://[::1]:5000/v2/x"),
        ("https://docker.io", "https://registry-1.docker.io/v2/x"),
    ],
)
def test_the_api_of_an_endpoint_is_at_its_root(url, api):
    assert Endpoint(url).api("x") == api


@pytest.mark.parametrize("url", ["", "ftp://host", "https://", "https://host:port", "https://[x"])
def test_a_url_that_is_none_is_refused(url):
    with pytest.raises(RegistryError, match="cannot be used: write it as https://HOST"):
        Endpoint(url)


@pytest.mark.parametrize(
    "url",
    [
        "https://evil\\.registry/",
        "https://evil\\@registry/",
        "https://registry@evil/",
        "https://re\tgistry/",
        "file://registry/",
        "//registry/",
    ],
)
def test_a_url_that_is_not_of_one_host_to_every_parser_has_no_origin(url):
    with pytest.raises(ValueError, match="not one host|not an http|invalid character"):
        Origin.of(url)


def test_a_url_with_credentials_is_refused_without_showing_them():
    with pytest.raises(RegistryError, match="must not hold credentials") as caught:
        Endpoint("https://alice:secret@host")

    assert "secret" not in str(caught.value)


def test_an_unknown_way_to_authenticate_is_refused():
    with pytest.raises(RegistryError, match="'digest': known are token, basic"):
        Endpoint("https://host", auth_method="digest")
