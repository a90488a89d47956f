# SPDX-License-Identifier: BSD-3-Clause
"""The variables that the user's program starts with."""

from __future__ import annotations

import os

from shifter_common.keyvalue import WHITE_SPACE
from shifter_runtime import trust
from shifter_runtime.errors import SetupError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

    from shifter_common.metadata import ImageMetadata
    from shifter_runtime.config import RuntimeConfig
    from shifter_runtime.request import Request

_LINKER_PREFIXES = ("LD_", "RTLD_")

# What glibc takes from the environment of a setuid program (its unsecvars.h), the prefixes aside.
# Users have relied on their containers not seeing the TMPDIR of the node.
_LINKER_VARIABLES = frozenset(
    (
        *("GCONV_PATH", "GETCONF_DIR", "GLIBC_TUNABLES", "HOSTALIASES", "LOCALDOMAIN", "LOCPATH"),
        *("MALLOC_TRACE", "NIS_PATH", "NLSPATH", "RESOLV_HOST_CONF", "RES_OPTIONS", "TMPDIR"),
        "TZDIR",
    )
)


class SiteVariables:
    """What the site, or one of its modules, does to the environment; texts are `NAME=value`."""

    __slots__ = ("append", "assign", "prepend", "unset")

    def __init__(
        self,
        *,
        assign: list[str],
        append: list[str],
        prepend: list[str],
        unset: list[str],
    ) -> None:
        self.assign = assign
        self.append = append
        self.prepend = prepend
        self.unset = unset

    def apply(self, variables: dict[str, str]) -> None:
        for name, value in _pairs(self.assign):
            variables[name] = value
        for name, value in _pairs(self.append):
            variables[name] = _joined(variables.get(name, ""), value)
        for name, value in _pairs(self.prepend):
            variables[name] = _joined(value, variables.get(name, ""))
        for name in self.unset:
            variables.pop(name, None)


def make(
    request: Request,
    image_id: str,
    metadata: ImageMetadata,
    config: RuntimeConfig,
    modules: Iterable[SiteVariables] = (),
    env_file: Iterable[tuple[str, str]] = (),
) -> dict[str, str]:
    """The environment, in the order that `shifter --help` promises; who comes later wins.

    `env_file` is what `parse_env_file` found in the files that the request names.
    """
    variables: dict[str, str] = {}
    if not request.clear_environment:
        variables.update(
            (name, value) for name, value in request.environment.items() if _may_pass(name)
        )
    if request.requested_text is not None:
        variables["SHIFTER_IMAGEREQUEST"] = request.requested_text
    variables["SHIFTER_IMAGE"] = image_id
    variables.update(_pairs(metadata.env))
    variables.update(env_file)
    variables.update(request.env_overrides)
    for name in request.unset:
        variables.pop(name, None)
    for module in modules:
        module.apply(variables)
    SiteVariables(
        assign=config.site_env,
        append=config.site_env_append,
        prepend=config.site_env_prepend,
        unset=config.site_env_unset,
    ).apply(variables)
    return variables


def read_env_file(path: str) -> list[tuple[str, str]]:
    """The variables in a file of the user's, read as the user and inside the container."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            text = trust.read_all(fd, f"env-file {path!r}").decode("utf-8", "surrogateescape")
        finally:
            os.close(fd)
    except OSError as error:
        raise SetupError(f"cannot read env-file {path!r}: {error.strerror}") from error
    return parse_env_file(text, path)


def parse_env_file(text: str, path: str) -> list[tuple[str, str]]:
    """The variables in a file of `NAME=value` lines; `path` is what an error calls it."""
    variables = []
    for number, line in enumerate(text.split("\n"), start=1):
        line = line.strip(WHITE_SPACE)
        if not line or line.startswith("#"):
            continue
        name, separator, value = line.partition("=")
        if not name or not separator or "\0" in line:
            raise SetupError(f"{path}: line {number}: not of the form NAME=value: {line!r}")
        variables.append((name, value))
    return variables


def _may_pass(name: str) -> bool:
    return not name.startswith(_LINKER_PREFIXES) and name not in _LINKER_VARIABLES


def _pairs(texts: Iterable[str]) -> Iterable[tuple[str, str]]:
    """Name and value of each text that has both; the value may be empty."""
    for text in texts:
        name, separator, value = text.partition("=")
        if name and separator:
            yield name, value


def _joined(left: str, right: str) -> str:
    return f"{left}:{right}" if left and right else left or right
