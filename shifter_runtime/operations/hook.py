# SPDX-License-Identifier: BSD-3-Clause
"""A script of the site's that root runs in the container's root directory while it is built."""

from __future__ import annotations

import os

from shifter_runtime import hooks, syscalls
from shifter_runtime.job import mounts
from shifter_runtime.udi import Udi


class RunHook:
    """Run a script; what it mounts below its directory is seen in the container.

    The image is hostile: a name in it that is a symbolic link would lead the script, for which `/`
    is the node's, to a place outside. So no link of the image is followed while it runs, and none
    in what the site has mounted there: users make links in that, and a link of the image may have
    brought it to where the script writes.
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
        of_site = _mounts_without_links(udi)
        syscalls.set_attributes(udi.root, no_links, recursive=True, name=udi.place)
        hooks.run_as_root(self.what, self.path, udi.root, self.seconds)
        syscalls.set_attributes(udi.root, 0, clear=no_links, recursive=True, name=udi.place)
        for path in of_site:
            mount = udi.open(path, os.O_PATH | os.O_NOFOLLOW)
            syscalls.set_attributes(mount, no_links, recursive=False, name=path)
            os.close(mount)
        # /dev is not there yet, so nothing needs devices.
        syscalls.set_attributes(udi.root, syscalls.NOSUID_NODEV, recursive=True, name=udi.place)


def _mounts_without_links(udi: Udi) -> list[str]:
    """Where, in the container, the site itself wants no link to be followed."""
    return [
        path[len(udi.place) :]
        for path, options in mounts.table()
        if path.startswith(f"{udi.place}/") and "nosymfollow" in options
    ]
