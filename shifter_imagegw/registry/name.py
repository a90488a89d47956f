# SPDX-License-Identifier: BSD-3-Clause
"""How a registry names an image: `library/ubuntu:24.04`, `ns/name@sha256:…`."""

from __future__ import annotations

import dataclasses
import re

from shifter_imagegw.registry.endpoint import Endpoint
from shifter_imagegw.registry.errors import InvalidNameError

# OCI distribution specification, "Pulling manifests"; lengths as the reference implementation.
_COMPONENT = re.compile(r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*")
_REGISTRY_TAG = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,127}")
_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")
_LONGEST_REPOSITORY = 255


@dataclasses.dataclass(frozen=True)
class RepositoryName:
    """A repository and what is wanted of it; where a digest is given, it decides."""

    repository: str
    registry_tag: str | None
    digest: str | None

    def __str__(self) -> str:
        tag = f":{self.registry_tag}" if self.registry_tag else ""
        digest = f"@{self.digest}" if self.digest else ""
        return f"{self.repository}{tag}{digest}"

    @property
    def wanted(self) -> str:
        """What the registry is asked for: the digest, or else the tag."""
        return self.digest or self.registry_tag or "latest"

    @classmethod
    def parse(cls, docker_tag: str) -> RepositoryName:
        """Read a docker tag without its location; neither tag nor digest means `latest`."""
        name, has_digest, digest = docker_tag.partition("@")
        repository, registry_tag = name, ""
        if ":" in name.rpartition("/")[2]:
            repository, _, registry_tag = name.rpartition(":")
            _require(_REGISTRY_TAG, registry_tag, docker_tag, f"the tag {registry_tag[:140]!r}")
        _require_repository(repository, docker_tag)
        if has_digest and not is_digest(digest):
            raise InvalidNameError(
                f"{docker_tag[:300]!r} is no image name: a digest is written as sha256: and "
                "64 lower-case hexadecimal digits"
            )
        if not registry_tag and not has_digest:
            registry_tag = "latest"
        return cls(repository, registry_tag or None, digest or None)

    def at(self, endpoint: Endpoint) -> RepositoryName:
        """The name as `endpoint` knows it: Docker Hub keeps `ubuntu` at `library/ubuntu`."""
        return dataclasses.replace(self, repository=repository_at(endpoint, self.repository))


def repository_at(endpoint: Endpoint, repository: str) -> str:
    """The repository as `endpoint` knows it; see `RepositoryName.at`."""
    if endpoint.is_docker_hub and "/" not in repository:
        return f"library/{repository}"
    return repository


def is_digest(text: str) -> bool:
    """Whether `text` is a digest of the one algorithm in use: sha256."""
    return _DIGEST.fullmatch(text) is not None


def is_registry_tag(text: str) -> bool:
    """Whether `text` can be a tag in a registry."""
    return _REGISTRY_TAG.fullmatch(text) is not None


def _require_repository(repository: str, docker_tag: str) -> None:
    if len(repository) > _LONGEST_REPOSITORY:
        raise InvalidNameError(
            f"image name {docker_tag[:60]!r}… is too long: a repository has at most "
            f"{_LONGEST_REPOSITORY} characters"
        )
    first = repository.partition("/")[0]
    if ":" in first:
        raise InvalidNameError(
            f"{docker_tag!r} is no image name: {first!r} looks like a registry, which is not "
            "configured as a location of this gateway"
        )
    for component in repository.split("/"):
        _require(_COMPONENT, component, docker_tag, f"{component!r}")


def _require(pattern: re.Pattern[str], part: str, docker_tag: str, what: str) -> None:
    if pattern.fullmatch(part) is None:
        raise InvalidNameError(
            f"{docker_tag[:300]!r} is no image name: {what} is not allowed; repositories are "
            "lower case, as in namespace/name:tag"
        )
