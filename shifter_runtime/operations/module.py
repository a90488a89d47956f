# SPDX-License-Identifier: BSD-3-Clause
"""What appears below /opt/udiImage where modules bring files along."""

from __future__ import annotations

import os
import stat

from shifter_runtime import syscalls, trust
from shifter_runtime.errors import SetupError
from shifter_runtime.operations.tree import BindSite
from shifter_runtime.udi import Udi

PLACE = "/opt/udiImage"
_MODULES = "modules"
_READ_ONLY = syscalls.MOUNT_ATTR_RDONLY | syscalls.MOUNT_ATTR_NOSUID | syscalls.MOUNT_ATTR_NODEV


class BindModule:
    """Make the copyPath of a module visible: bound, not copied, and nobody can write to it."""

    def __init__(self, name: str, source: str) -> None:
        self.name = name
        self.source = source
        self.target = f"{PLACE}/{_MODULES}/{name}"

    def __str__(self) -> str:
        return f"bind {self.source}, which only root can change, on {self.target} (ro,nosuid,nodev)"

    def execute(self, udi: Udi) -> None:
        try:
            source = trust.open_untouchable_tree(self.source)
        except SetupError as error:
            raise SetupError(f"module_{self.name}_copyPath: {error}") from error
        mount = syscalls.clone_tree(source, recursive=False, name=self.source)
        os.close(source)
        syscalls.set_attributes(
            mount, _READ_ONLY, recursive=False, propagation=syscalls.MS_PRIVATE, name=self.source
        )
        target = udi.replace_directory(self.target)
        syscalls.attach(mount, target, self.target)
        os.close(target)
        os.close(mount)


class BindContents:
    """Make each entry of optUdiImage visible in /opt/udiImage, beside the modules."""

    def __init__(self, source: str) -> None:
        self.source = source

    def __str__(self) -> str:
        return f"bind each entry of {self.source} in {PLACE} (ro,nosuid,nodev,private)"

    def execute(self, udi: Udi) -> None:
        for name in sorted(os.listdir(self.source)):
            if name == _MODULES:
                raise SetupError(
                    f"optUdiImage {self.source} has an entry {_MODULES!r}, where the copyPath of "
                    "modules belongs: ask the administrator to rename it"
                )
            source, target = f"{self.source}/{name}", f"{PLACE}/{name}"
            if stat.S_ISLNK(os.lstat(source).st_mode):
                udi.write_link(target, os.readlink(source))
            else:
                BindSite(source, target, read_only=True, key="optUdiImage").execute(udi)
