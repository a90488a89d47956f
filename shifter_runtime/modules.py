# SPDX-License-Identifier: BSD-3-Clause
"""Modules: sets of directories, variables and scripts that the site offers, for MPI or GPUs say."""

from __future__ import annotations

from shifter_runtime.errors import SetupError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from shifter_runtime.config import RuntimeConfig
    from shifter_runtime.environment import SiteVariables
    from shifter_runtime.volumes import Volume


class Module:
    """One module of udiRoot.conf that is active for this launch; paths are of the node."""

    __slots__ = ("copy_path", "name", "root_hook", "site_fs", "user_hook", "variables")

    def __init__(
        self,
        name: str,
        *,
        site_fs: list[Volume],
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
    active = names if names is not None else config.default_modules
    if active in ([], ["none"]):
        return []
    raise SetupError(
        f"modules are not part of this release, but {', '.join(active)} would be active: "
        "write --module=none"
    )
