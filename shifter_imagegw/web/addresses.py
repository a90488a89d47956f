# SPDX-License-Identifier: BSD-3-Clause
"""Where each page is, also behind a proxy that shows the gateway below a path of its own."""

from __future__ import annotations

import hashlib
from functools import lru_cache
from pathlib import Path
from urllib.parse import quote, urlencode, urlsplit

from shifter_imagegw.config import GatewayConfig, SystemConfig
from shifter_imagegw.records import ImageRecord

_STATIC = Path(__file__).with_name("static")
KINDS = {
    "favicon.svg": "image/svg+xml",
    "page.css": "text/css; charset=utf-8",
    "page.js": "text/javascript; charset=utf-8",
}


class Addresses:
    """Paths of pages as browsers ask for them."""

    def __init__(self, config: GatewayConfig) -> None:
        self._prefix = urlsplit(config.web_url or "").path
        self._url = config.web_url

    def is_secure(self) -> bool:
        """Whether the site says that browsers come by TLS."""
        return (self._url or "").startswith("https:")

    def home(self) -> str:
        return f"{self._prefix}/web/"

    def of(self, system: SystemConfig, page: str = "") -> str:
        return f"{self._prefix}/web/{quote(system.name, safe='')}/{page}"

    def image(self, system: SystemConfig, record: ImageRecord, tag: str | None = None) -> str:
        tag = tag or (record.tags[0] if record.tags else None)
        if tag is None:
            return self.of(system, f"image/id/{record.image_id}")
        return self.of(system, f"image/{quote(record.image_type)}/{quote(tag, safe='/:@')}")

    def entrance(self, system: SystemConfig, ticket: str, asked_as: str) -> str:
        """The whole link; `asked_as` is how the client reached the gateway."""
        start = self._url or asked_as.rstrip("/")
        page = f"{quote(system.name, safe='')}/enter?{urlencode({'ticket': ticket})}"
        return f"{start}/web/{page}"

    def static(self, name: str) -> str:
        """Of a file of ours, with what changes when the file does."""
        return f"{self._prefix}/web/-/{name}?{_version_of(name)}"


@lru_cache
def content_of(name: str) -> bytes:
    """Of one of the files in `KINDS`."""
    return (_STATIC / name).read_bytes()


@lru_cache
def _version_of(name: str) -> str:
    return hashlib.sha256(content_of(name)).hexdigest()[:12]
