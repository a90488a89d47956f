# SPDX-License-Identifier: BSD-3-Clause
"""perNodeCache: a filesystem of the container's own, in a file on the site's shared one.

The shared filesystem sees one large file instead of what programs do with small ones. All of it
vanishes with the last process that uses it: the file has no name, the loop device clears itself.
"""

from __future__ import annotations

import os

from shifter_runtime import cache_file, loop, syscalls, xfs
from shifter_runtime.errors import VolumeError
from shifter_runtime.identity import AsUser, Identity
from shifter_runtime.operations.target import open_for
from shifter_runtime.operations.tree import restrictions
from shifter_runtime.udi import Udi
from shifter_runtime.volumes import CacheSpec

TYPE_CHECKING = False
if TYPE_CHECKING:
    from shifter_runtime.config import RuntimeConfig
    from shifter_runtime.volumes import Volume

_MKFS = "/usr/sbin/mkfs.xfs"  # where mkfsXfsPath says nothing
# As mkfs makes it, the root directory is root's; nobody else is to look into a user's cache.
_MODE = 0o700


class MountCache:
    """Mount a new, empty XFS filesystem for the user, of `size` bytes in a file in `directory`.

    The user's target is looked up with the user's rights and judged by where it really is, as
    every volume's; a target of siteFs is the site's.
    """

    def __init__(
        self, size: int, target: str, user: Identity, config: RuntimeConfig, *, read_only: bool,
        by_site: bool,
    ) -> None:  # fmt: skip
        self.size = size
        self.target = target
        self.user = user
        self.directory = config.per_node_cache_path
        self.mkfs = config.mkfs_xfs_path or _MKFS
        self.read_only = read_only
        self.by_site = by_site

    def __str__(self) -> str:
        flags = restrictions(
            syscalls.NOSUID_NODEV | (syscalls.MOUNT_ATTR_RDONLY if self.read_only else 0)
        )
        return (
            f"mount xfs of {self.size} bytes, in a file in {self.directory}, on {self.target} "
            f"as {self.user.name} ({flags})"
        )

    def execute(self, udi: Udi) -> None:
        target = self._open_target(udi)
        mount = self._make_filesystem()
        os.chmod(".", _MODE, dir_fd=mount)
        os.chown(".", self.user.uid, self.user.gid, dir_fd=mount)
        if self.read_only:
            syscalls.set_attributes(
                mount, syscalls.MOUNT_ATTR_RDONLY, recursive=False, name=self.target
            )
        syscalls.attach(mount, target, self.target)
        udi.give(mount, self.user)
        os.close(target)
        os.close(mount)

    def _open_target(self, udi: Udi) -> int:
        if self.by_site:
            return udi.open_mount_point(self.target)
        return open_for(self.user, udi, self.target, is_directory=True)

    def _make_filesystem(self) -> int:
        file = cache_file.create(self.directory, self.size, self.user)
        try:
            self._write_empty(file)
            try:
                return _mount(file, direct=True)
            except OSError:
                # A filesystem may promise direct I/O and then refuse it.
                return _mount(file, direct=False)
        finally:
            os.close(file)

    def _write_empty(self, file: int) -> None:
        empty = xfs.open_empty(self.size, self.mkfs)
        try:
            with AsUser(self.user):  # whose quota it is, and root may not write there
                xfs.copy(empty, file)
        except OSError as error:
            raise VolumeError(
                f"cannot write to perNodeCachePath {self.directory}: {error.strerror}"
            ) from error
        finally:
            os.close(empty)


def _mount(file: int, *, direct: bool) -> int:
    device = loop.attach_writable(file, direct=direct)
    try:
        # Copies of one template have one UUID, of which the kernel would mount but one.
        options = (("source", device.path), ("nouuid", None))
        return syscalls.make_filesystem("xfs", options, syscalls.NOSUID_NODEV)
    finally:
        os.close(device.fd)


def for_volume(
    volume: Volume, config: RuntimeConfig, user: Identity, *, by_site: bool
) -> MountCache:
    """The operation for a volume with a cache, if the site allows one such; acts on nothing."""
    assert volume.cache is not None
    try:
        size = _checked_size(volume.cache, config)
    except VolumeError as error:
        raise VolumeError(f"{'siteFs' if by_site else 'volume'} {volume}: {error}") from None
    return MountCache(
        size, volume.target, user, config, read_only=volume.read_only, by_site=by_site
    )


def _checked_size(cache: CacheSpec, config: RuntimeConfig) -> int:
    limit = config.per_node_cache_size_limit
    if not config.per_node_cache_path:
        raise VolumeError(
            "perNodeCache cannot be had here: the site sets no perNodeCachePath in udiRoot.conf"
        )
    allowed = config.per_node_cache_allowed_fs_type
    if allowed and cache.filesystem not in allowed:
        raise VolumeError(
            f"perNodeCache with fs={cache.filesystem} is not allowed here "
            f"(perNodeCacheAllowedFsType: {' '.join(allowed)})"
        )
    if limit is not None and cache.size > limit:
        raise VolumeError(f"perNodeCache may have at most {limit} bytes (perNodeCacheSizeLimit)")
    if cache.size > xfs.LARGEST:
        raise VolumeError(f"perNodeCache may have at most {xfs.LARGEST} bytes (1P)")
    if cache.size < xfs.SMALLEST:
        raise VolumeError(
            f"perNodeCache needs at least {xfs.SMALLEST} bytes (300M): XFS works with no less"
        )
    return cache.size // xfs.BLOCK * xfs.BLOCK
