# SPDX-License-Identifier: BSD-3-Clause
"""Which configured registry a docker tag means: `reg.site/lib/tool:1`, `lib/tool:1`."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from urllib.parse import urlsplit

from shifter_imagegw.errors import PullError

_DOCKER_HUB = frozenset({"docker.io", "index.docker.io", "registry-1.docker.io"})


@dataclasses.dataclass(frozen=True, kw_only=True)
class Source:
    """A location, and what its registry calls the image."""

    location: str
    name: str  # `repository[:tag][@digest]`
    hint: str = ""  # what may be wrong if the registry does not have it


def choose(tag: str, urls: Mapping[str, str], default: str, *, what: str = "pull") -> Source:
    """Find the source of a tag; `urls` holds the registry's URL of each configured location.

    A first component that names no location belongs to the repository on the default location,
    unless it cannot: a repository holds no port.
    """
    first, slash, rest = tag.partition("/")
    if not slash:
        return Source(location=default, name=tag)
    if first in urls:
        return Source(location=first, name=rest)
    if not _is_host(first):
        return Source(location=default, name=tag)
    for location, url in urls.items():
        if _same_host(first, location) or _same_host(first, urlsplit(url).netloc):
            return Source(location=location, name=rest)
    hint = f"{first!r} is no configured location: the gateway knows {', '.join(sorted(urls))}"
    if ":" in first:
        raise PullError(f"cannot {what} {tag!r}: {hint}")
    return Source(location=default, name=tag, hint=hint)


def is_registry_at(url: str, host: str) -> bool:
    """Whether a registry's URL is that of a host, however users call it."""
    return _same_host(host, urlsplit(url).netloc)


def named(text: str, urls: Mapping[str, str], default: str) -> str | None:
    """The location that a login is for: by its name or its registry's host, or the default one."""
    if text in urls:
        return text
    if text == "default":
        return default
    for location, url in urls.items():
        if _same_host(text, location) or _same_host(text, urlsplit(url).netloc):
            return location
    return None


def _is_host(component: str) -> bool:
    return "." in component or ":" in component or component == "localhost"


def _same_host(one: str, other: str) -> bool:
    return one == other or (one in _DOCKER_HUB and other in _DOCKER_HUB)
