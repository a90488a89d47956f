# SPDX-License-Identifier: BSD-3-Clause
"""Modules: sets of directories, variables and scripts that the site offers, for MPI or GPUs say."""

from __future__ import annotations

from shifter_runtime import volumes
from shifter_runtime.environment import SiteVariables
from shifter_runtime.errors import ConfigError, UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from shifter_runtime.config import RuntimeConfig

_NO_MODULES = "none"


class Module:
    """One module of udiRoot.conf that is active for this launch.

    Paths are of the node, but `user_hook`, which is one in the container.
    """

    __slots__ = ("copy_path", "name", "root_hook", "site_fs", "user_hook", "variables")

    def __init__(
        self,
        name: str,
        *,
        site_fs: list[volumes.Volume],
        variables: SiteVariables,
        copy_path: str = "",
        root_hook: str = "",
        user_hook: str = "",
    ) -> None:
        self.name = name
        self.site_fs = site_fs
        self.variables = variables
        self.copy_path = copy_path
        self.root_hook = root_hook
        self.user_hook = user_hook


def select(names: list[str] | None, config: RuntimeConfig) -> list[Module]:
    """The modules that a user chose, or the site's defaults where `names` is None, in order."""
    if names is not None:
        return _select(names, config)
    try:
        return _select(config.default_modules, config)
    except UsageError as error:  # no mistake of the user's
        raise ConfigError(f"{config.path}: defaultModules: {error}") from error


def _select(names: list[str], config: RuntimeConfig) -> list[Module]:
    chosen = list(dict.fromkeys(names))
    if _NO_MODULES in chosen:
        if len(chosen) > 1:
            raise UsageError(
                f"module {_NO_MODULES!r} means no modules at all, so it cannot stand beside "
                f"others: {','.join(chosen)!r}"
            )
        return []
    for name in chosen:
        _require_offered(name, config)
    _require_no_conflict(chosen, config)
    return [_module(name, config.modules[name]) for name in chosen]


def _require_offered(name: str, config: RuntimeConfig) -> None:
    offered = sorted(name for name in config.modules if _is_enabled(name, config))
    if name in offered:
        return
    if name in config.modules:
        raise UsageError(f"module {name!r} is not enabled on this site; {_offer(offered)}")
    from shifter_runtime.spelling import nearest_to  # here: few names are misspelt

    nearest = nearest_to(name[:64], offered) if offered else None
    hint = f", did you mean {nearest!r}?" if nearest else ";"
    raise UsageError(f"unknown module {name!r}{hint} {_offer(offered)}")


def _offer(offered: list[str]) -> str:
    return f"this site offers {', '.join(offered)}" if offered else "this site offers none"


def _is_enabled(name: str, config: RuntimeConfig) -> bool:
    return config.modules[name].get("enabled") != ["0"]


def _require_no_conflict(chosen: list[str], config: RuntimeConfig) -> None:
    for name in chosen:
        for other in config.modules[name].get("conflict", []):
            if other in chosen and other != name:
                first, second = sorted((name, other), key=chosen.index)
                raise UsageError(
                    f"modules {first!r} and {second!r} exclude each other: choose one of them"
                )


def _module(name: str, values: dict[str, list[str]]) -> Module:
    return Module(
        name,
        site_fs=[
            volume for text in values.get("siteFs", []) for volume in volumes.parse_site(text)
        ],
        variables=SiteVariables(
            assign=values.get("siteEnv", []),
            append=values.get("siteEnvAppend", []),
            prepend=values.get("siteEnvPrepend", []),
            unset=values.get("siteEnvUnset", []),
        ),
        copy_path=_one(values, "copyPath"),
        root_hook=_one(values, "roothook"),
        user_hook=_one(values, "userhook"),
    )


def _one(values: dict[str, list[str]], part: str) -> str:
    return values.get(part, [""])[0]
