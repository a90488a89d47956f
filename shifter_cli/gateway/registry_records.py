# SPDX-License-Identifier: BSD-3-Clause
"""What the gateway says of registries, and of its own web page."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping


@dataclasses.dataclass(frozen=True)
class TagPage:
    """Some tags of a repository; `next` is the last of them where there are more."""

    tags: tuple[str, ...]
    next: str | None

    @classmethod
    def from_wire(cls, wire: Mapping[str, object]) -> TagPage:
        tags, following = wire.get("tags"), wire.get("next")
        return cls(
            tuple(tag for tag in tags if isinstance(tag, str)) if isinstance(tags, list) else (),
            following if isinstance(following, str) and following else None,
        )


@dataclasses.dataclass(frozen=True)
class AcceptedLogin:
    """A login that a registry took; `location` is what the gateway calls the registry."""

    location: str
    url: str
    is_verified: bool  # else the registry lets everybody in, and has not looked at it

    @classmethod
    def from_wire(cls, wire: Mapping[str, object], asked: str) -> AcceptedLogin | None:
        if wire.get("status") is not True:
            return None
        location, url = wire.get("location"), wire.get("url")
        return cls(
            location if isinstance(location, str) and location else asked,
            url if isinstance(url, str) else "",
            wire.get("verified") is not False,
        )


@dataclasses.dataclass(frozen=True)
class WebLink:
    """A link that logs a browser in; `expires` is in seconds since the epoch, if known."""

    url: str
    expires: float | None

    @classmethod
    def from_wire(cls, wire: Mapping[str, object]) -> WebLink | None:
        url, expires = wire.get("url"), wire.get("expires")
        if not isinstance(url, str) or not url.startswith(("http://", "https://")):
            return None
        is_time = isinstance(expires, (int, float)) and not isinstance(expires, bool)
        return cls(url, float(expires) if is_time else None)  # type: ignore[arg-type]
