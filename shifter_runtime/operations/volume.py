# SPDX-License-Identifier: BSD-3-Clause
"""What the user wants to see in the container, bound with the user's rights."""

from __future__ import annotations

import os
import stat

from shifter_runtime import identity, syscalls, trust
from shifter_runtime.errors import VolumeError
from shifter_runtime.operations.target import open_for
from shifter_runtime.operations.tree import restrictions
from shifter_runtime.udi import Udi

_MOST_MOUNTS = 4096  # below the container's root


class BindVolume:
    """Make a directory or file visible where the user wants it.

    Both are paths in the container, opened once with the user's rights; only what is missing of
    the target is made by root. The target is judged by where it really is, after every symbolic
    link of the image.
    """

    def __init__(
        self, source: str, target: str, user: identity.Identity, *, read_only: bool
    ) -> None:
        self.source = source
        self.target = target
        self.user = user
        self.attributes = syscalls.NOSUID_NODEV | (syscalls.MOUNT_ATTR_RDONLY if read_only else 0)

    def __str__(self) -> str:
        flags = restrictions(self.attributes)
        return f"bind {self.source} on {self.target} as {self.user.name} ({flags})"

    def execute(self, udi: Udi) -> None:
        source, is_directory = self._open_source(udi)
        mount = syscalls.clone_tree(source, recursive=True, name=self.source)
        os.close(source)
        syscalls.set_attributes(
            mount,
            self.attributes,
            recursive=True,
            propagation=syscalls.MS_PRIVATE,
            name=self.source,
        )
        target = open_for(self.user, udi, self.target, is_directory=is_directory)
        syscalls.attach(mount, target, self.target)
        os.close(target)
        os.close(mount)
        _require_few_mounts(udi)

    def _open_source(self, udi: Udi) -> tuple[int, bool]:
        """A descriptor of the source, and whether that is a directory."""
        try:
            source = udi.open(self.source, user=self.user)
            return source, stat.S_ISDIR(os.fstat(source).st_mode)
        except FileNotFoundError:
            raise VolumeError(
                f"volume source {self.source!r} does not exist in the container: a volume's source "
                "is a path as the container sees it, that is in the image or in what the site "
                "shares (siteFs)"
            ) from None
        except PermissionError as error:
            from shifter_runtime.operations import own_view  # here: only for a user's own FUSE

            found = own_view.open_path(udi, self.source, self.user)
            if found is None:
                raise self._unusable(error) from error
            return found
        except OSError as error:
            raise self._unusable(error) from error

    def _unusable(self, error: OSError) -> VolumeError:
        return VolumeError(f"cannot use volume source {self.source!r}: {error.strerror}")


def _require_few_mounts(udi: Udi) -> None:
    """Refuse volumes that multiply the mounts.

    A volume brings along what is mounted below its source, so each can double what there is, and
    every mount on the node waits while the kernel copies a hundred thousand (fs.mount-max).
    """
    fd = os.open("/proc/self/mountinfo", os.O_RDONLY | os.O_CLOEXEC)
    try:
        mounts = trust.read_all(fd, "/proc/self/mountinfo")
    finally:
        os.close(fd)
    place = udi.place.replace(" ", "\\040")  # as the kernel writes it
    if mounts.count(os.fsencode(f" {place}/")) > _MOST_MOUNTS:
        raise VolumeError(
            f"the volumes make more than {_MOST_MOUNTS} mounts: name smaller trees, or fewer"
        )
