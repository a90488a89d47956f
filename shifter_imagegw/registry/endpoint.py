# SPDX-License-Identifier: BSD-3-Clause
"""Where a registry is, and who asks."""

from __future__ import annotations

import base64
import dataclasses
from pathlib import Path
from typing import Literal, NamedTuple
from urllib.parse import urlsplit

import urllib3.util

from shifter_imagegw.registry.errors import RegistryError

_DEFAULT_PORTS = {"http": 80, "https": 443}
_DOCKER_HUB = "docker.io"
_DOCKER_HUB_API = "registry-1.docker.io"  # docker.io itself serves a web site


class Origin(NamedTuple):
    """Who answers to a URL; two URLs with one origin may see the same credentials."""

    scheme: str
    host: str
    port: int

    @classmethod
    def of(cls, url: str) -> Origin:
        """Raises ValueError where `url` is no plain http or https URL.

        Two parsers have to agree: the one that decides who sees credentials, and the one that the
        HTTP library connects by. `https://evil\\@registry/` is another host to each.
        """
        parts, connected = urlsplit(url), urllib3.util.parse_url(url)
        scheme, host = parts.scheme.lower(), (parts.hostname or "").lower()
        if scheme not in _DEFAULT_PORTS or not host or "@" in parts.netloc:
            raise ValueError("not an http or https URL")
        port = parts.port or _DEFAULT_PORTS[scheme]
        if (connected.host or "").strip("[]") != host or connected.auth:
            raise ValueError("not one host")
        if (connected.port or _DEFAULT_PORTS[scheme]) != port or connected.scheme != scheme:
            raise ValueError("not one port")
        return cls(scheme, host, port)

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        if self.port == _DEFAULT_PORTS[self.scheme]:
            return host
        return f"{host}:{self.port}"


@dataclasses.dataclass(frozen=True)
class Endpoint:
    """A registry's address and how it is to be trusted.

    A path in `url` is ignored, as the original does: the API is at `/v2/`. `name` is what people
    call the registry when they log in; by default its host. Over plain http no credentials are
    ever sent.
    """

    url: str
    ca_file: Path | None = None
    auth_method: Literal["token", "basic"] = "token"
    name: str = ""
    origin: Origin = dataclasses.field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        url = self.url if "://" in self.url else f"https://{self.url}"
        if "@" in url.partition("://")[2].partition("/")[0]:
            raise RegistryError("a registry's URL must not hold credentials: log in instead")
        try:
            origin = Origin.of(url)
        except ValueError:
            raise RegistryError(
                f"registry URL {self.url!r} cannot be used: write it as https://HOST[:PORT]"
            ) from None
        if self.auth_method not in ("token", "basic"):
            raise RegistryError(
                f"registry {origin}: unknown way to authenticate {self.auth_method!r}: "
                "known are token, basic"
            )
        if origin.host == _DOCKER_HUB:
            origin = origin._replace(host=_DOCKER_HUB_API)
        object.__setattr__(self, "origin", origin)

    @property
    def label(self) -> str:
        """How sentences name the registry."""
        return str(self.origin)

    @property
    def login_name(self) -> str:
        return self.name or self.label

    @property
    def is_docker_hub(self) -> bool:
        return self.origin.host.endswith(f".{_DOCKER_HUB}")

    @property
    def may_see_credentials(self) -> bool:
        return self.origin.scheme == "https"

    def api(self, path: str) -> str:
        """The URL of `path` below the API's root."""
        return f"{self.origin.scheme}://{self.origin}/v2/{path}"


@dataclasses.dataclass(frozen=True)
class Credentials:
    """A user name and a password: any text, but no colon in the name (RFC 7617)."""

    username: str
    password: str = dataclasses.field(repr=False)

    def basic_header(self) -> str:
        if ":" in self.username:
            raise RegistryError(
                f"user name {self.username!r} cannot be sent to a registry: it holds a colon"
            )
        try:
            pair = f"{self.username}:{self.password}".encode()
        except UnicodeEncodeError:
            raise RegistryError(
                "the user name or the password cannot be sent to a registry: it holds half a "
                "character"
            ) from None
        return f"Basic {base64.b64encode(pair).decode('ascii')}"
