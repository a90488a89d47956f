# SPDX-License-Identifier: BSD-3-Clause
"""OCI platforms: operating system, architecture, variant, and which of several fits best."""

from __future__ import annotations

import dataclasses
import os
import re

from shifter_imagegw.registry.errors import RegistryError

# What uname(2) and people write, and what images carry (Go's names).
_ARCHITECTURES = {
    "x86_64": "amd64",
    "x86-64": "amd64",
    "aarch64": "arm64",
    "armhf": "arm",
    "armv7l": "arm",
    "armv6l": "arm",
    "armel": "arm",
    "i386": "386",
    "i686": "386",
}
_VARIANTS = {"armv7l": "v7", "armhf": "v7", "armv6l": "v6", "armel": "v6"}
# The variant that is meant where none is named, as containerd reads it.
_BASELINES = {"amd64": (1, 0), "arm": (7, 0), "arm64": (8, 0)}
_LEVEL = re.compile(r"v?(\d{1,3})(?:\.(\d{1,3}))?")


@dataclasses.dataclass(frozen=True)
class Platform:
    """What programs of an image run on."""

    os: str
    architecture: str
    variant: str | None = None

    def __str__(self) -> str:
        variant = f"/{self.variant}" if self.variant else ""
        return f"{self.os}/{self.architecture}{variant}"

    @classmethod
    def parse(cls, text: str) -> Platform:
        """Read `os/architecture[/variant]`; `x86_64` and `aarch64` are understood."""
        parts = text.strip().lower().split("/")
        if len(parts) not in (2, 3) or not all(parts):
            raise RegistryError(
                f"{text!r} is no platform: write it as OS/ARCHITECTURE[/VARIANT], "
                "for example linux/amd64"
            )
        return cls.of(*parts)

    @classmethod
    def of(cls, os_name: str, architecture: str, variant: str | None = None) -> Platform:
        """A platform in the names that images carry."""
        architecture = architecture.lower()
        variant = (variant or "").lower() or _VARIANTS.get(architecture)
        return cls(os_name.lower(), _ARCHITECTURES.get(architecture, architecture), variant)

    @classmethod
    def host(cls) -> Platform:
        """The platform that this process runs on, at its architecture's baseline."""
        return cls.of(os.uname().sysname, os.uname().machine)

    def suitability(self, offered: Platform) -> tuple[int, int] | None:
        """How well an image for `offered` suits us: higher is better, None not at all.

        Of one architecture, the newest variant suits that is not newer than ours.
        """
        if (self.os, self.architecture) != (offered.os, offered.architecture):
            return None
        if (self.variant or "") == (offered.variant or ""):
            return (1000, 0)
        ours, theirs = self._level(), offered._level()
        if ours is None or theirs is None or theirs > ours:
            return None
        return theirs

    def _level(self) -> tuple[int, int] | None:
        if not self.variant:
            return _BASELINES.get(self.architecture)
        matched = _LEVEL.fullmatch(self.variant)
        return (int(matched[1]), int(matched[2] or 0)) if matched else None
