# SPDX-License-Identifier: BSD-3-Clause
"""A script of the site's that root runs in the container's root directory while it is built."""

from __future__ import annotations

from shifter_runtime import hooks, syscalls
from shifter_runtime.udi import Udi


class RunHook:
    """Run a script; what it mounts below its directory is seen in the container.

    The image is hostile: a name in it that is a symbolic link would lead the script, for which `/`
    is the node's, to a place outside. So no link of the image is followed while it runs.
    """

    def __init__(self, what: str, path: str, seconds: float) -> None:
        self.what = what
        self.path = path
        self.seconds = seconds

    def __str__(self) -> str:
        limit = f"at most {self.seconds:g} seconds" if self.seconds else "without a limit of time"
        return f"run {self.what} {self.path} as root ({limit})"

    def execute(self, udi: Udi) -> None:
        no_links = syscalls.MOUNT_ATTR_NOSYMFOLLOW
        syscalls.set_attributes(udi.root, no_links, recursive=False, name=udi.place)
        hooks.run_as_root(self.what, self.path, udi.root, self.seconds)
        syscalls.set_attributes(udi.root, 0, clear=no_links, recursive=False, name=udi.place)
        # /dev is not there yet, so nothing needs devices.
        syscalls.set_attributes(udi.root, syscalls.NOSUID_NODEV, recursive=True, name=udi.place)
