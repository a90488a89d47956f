# SPDX-License-Identifier: BSD-3-Clause
"""Which registry an image is on, and which one a login is for."""

from __future__ import annotations

DOCKER_HUB = "docker.io"

_NAMES_OF_DOCKER_HUB = frozenset({DOCKER_HUB, "index.docker.io", "registry-1.docker.io"})
_API_VERSIONS = ("v1", "v2")


def repository_of(tag: str) -> str:
    """`host/repository` of an image's tag: without a host it is on Docker Hub, as for docker.

    The gateway may know better: it uses a login only if its registry is the login's.
    """
    name = tag.partition("@")[0]
    first, _, rest = name.partition("/")
    return f"{_host(first)}/{rest}" if is_hosted(name) else f"{DOCKER_HUB}/{name}"


def is_hosted(tag: str) -> bool:
    """Whether a tag names its registry."""
    first, slash, _ = tag.partition("/")
    return bool(slash) and ("." in first or ":" in first or first == "localhost")


def of_key(key: str) -> str:
    """What a login is for, by its key: `host`, or `host/namespace` as podman has it.

    Docker writes URLs, of which the Hub's has a path: https://index.docker.io/v1/
    """
    name = key.strip().removeprefix("https://").removeprefix("http://").rstrip("/")
    host, _, path = name.partition("/")
    if path in _API_VERSIONS:
        path = ""
    return f"{_host(host)}/{path}" if path else _host(host)


def scopes_of(repository: str) -> list[str]:
    """What a login for `host/a/b:1` may be kept under: `host/a/b`, `host/a`, `host`."""
    host, _, rest = repository.partition("/")
    parts = [host, *rest.partition(":")[0].split("/")]
    return ["/".join(parts[:count]) for count in range(len(parts), 0, -1)]


def _host(name: str) -> str:
    return DOCKER_HUB if name in _NAMES_OF_DOCKER_HUB else name
