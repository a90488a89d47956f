# SPDX-License-Identifier: BSD-3-Clause
"""Which registry an image is on, and which one a login is for."""

from __future__ import annotations

import pytest

from shifter_cli.logins import hosts


@pytest.mark.parametrize(
    ("tag", "repository"),
    [
        ("ubuntu:24.04", "docker.io/ubuntu:24.04"),
        ("team/tool:1", "docker.io/team/tool:1"),
        ("docker.io/library/x:1", "docker.io/library/x:1"),
        ("registry.example.org/team/tool:1", "registry.example.org/team/tool:1"),
        ("localhost/x:1", "localhost/x:1"),
        ("example.org:5000/x@sha256:12", "example.org:5000/x"),
    ],
)
def test_an_image_without_a_host_is_on_docker_hub(tag, repository):
    assert hosts.repository_of(tag) == repository


@pytest.mark.parametrize(
    ("key", "scope"),
    [
        ("https://index.docker.io/v1/", "docker.io"),
        ("registry-1.docker.io", "docker.io"),
        ("registry.example.org", "registry.example.org"),
        ("https://registry.example.org/", "registry.example.org"),
        ("http://example.org:5000/v2/", "example.org:5000"),
        ("quay.io/team", "quay.io/team"),
    ],
)
def test_a_login_is_for_a_host_or_a_namespace_however_its_key_is_written(key, scope):
    assert hosts.of_key(key) == scope


def test_the_login_nearest_to_an_image_comes_first():
    repository = hosts.repository_of("example.org:5000/team/tool:1")

    assert hosts.scopes_of(repository) == [
        *("example.org:5000/team/tool", "example.org:5000/team", "example.org:5000"),
    ]
