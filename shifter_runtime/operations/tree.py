# SPDX-License-Identifier: BSD-3-Clause
"""What the site puts into the container: directories, files, links, and what it binds."""

from __future__ import annotations

import errno
import os
import stat

from shifter_runtime import syscalls
from shifter_runtime.errors import SetupError
from shifter_runtime.udi import Udi

_PROPAGATION = {"private": syscalls.MS_PRIVATE, "slave": syscalls.MS_SLAVE}


class MakeDirectory:
    """Make a directory that the site relies on, whatever the image has in its place."""

    def __init__(self, path: str, mode: int = 0o755) -> None:
        self.path = path
        self.mode = mode

    def __str__(self) -> str:
        return f"make directory {self.path} ({self.mode:04o})"

    def execute(self, udi: Udi) -> None:
        os.close(udi.replace_directory(self.path, self.mode))


class WriteFile:
    """Put a file of the site's in place of the image's."""

    def __init__(self, path: str, content: bytes, mode: int = 0o644) -> None:
        self.path = path
        self.content = content
        self.mode = mode

    def __str__(self) -> str:
        return f"write {self.path} ({len(self.content)} bytes, {self.mode:04o})"

    def execute(self, udi: Udi) -> None:
        udi.write_file(self.path, self.content, self.mode)


class WriteLink:
    """Put a symbolic link of the site's in place of what the image has."""

    def __init__(self, path: str, target: str) -> None:
        self.path = path
        self.target = target

    def __str__(self) -> str:
        return f"link {self.path} -> {self.target}"

    def execute(self, udi: Udi) -> None:
        udi.write_link(self.path, self.target)


class BindSite:
    """Make something of the node's visible in the container, as the administrator configured it."""

    def __init__(
        self,
        source: str,
        target: str,
        *,
        read_only: bool = False,
        recursive: bool = False,
        devices: bool = False,
        executable: bool = True,
        through_links: bool = True,
        propagation: str = "private",
        key: str = "",
    ) -> None:
        self.source = source
        self.key = key  # of udiRoot.conf, where that names the source
        self.target = target
        self.recursive = recursive
        self.through_links = through_links
        self.propagation = propagation
        self.attributes = syscalls.MOUNT_ATTR_NOSUID
        if read_only:
            self.attributes |= syscalls.MOUNT_ATTR_RDONLY
        if not devices:
            self.attributes |= syscalls.MOUNT_ATTR_NODEV
        if not executable:
            self.attributes |= syscalls.MOUNT_ATTR_NOEXEC

    def __str__(self) -> str:
        flags = [restrictions(self.attributes), self.propagation]
        if self.recursive:
            flags.insert(0, "rec")
        return f"bind {self.source} on {self.target} ({','.join(flags)})"

    def execute(self, udi: Udi) -> None:
        source = self._open_source()
        is_directory = stat.S_ISDIR(os.fstat(source).st_mode)
        mount = syscalls.clone_tree(source, recursive=self.recursive, name=self.source)
        os.close(source)
        syscalls.set_attributes(
            mount,
            self.attributes,
            recursive=True,
            propagation=_PROPAGATION[self.propagation],
            name=self.source,
        )
        if not self.through_links:
            udi.remove_link(self.target)
        if is_directory:
            target = udi.open_mount_point(self.target)
        else:
            target = udi.open_target(self.target, is_directory=False)
        syscalls.attach(mount, target, self.target)
        os.close(target)
        os.close(mount)

    def _open_source(self) -> int:
        try:
            return os.open(self.source, os.O_PATH | os.O_CLOEXEC)
        except OSError as error:
            if not self.key:
                raise
            raise SetupError(
                f"cannot use {self.key} {self.source} on this node: {error.strerror}; ask the "
                "administrator to correct the node or udiRoot.conf"
            ) from error


class DenyDevices:
    """Let no device be used through the filesystems at these paths, where something is mounted.

    They come with /dev, where devices must work, but hold files of anybody's.
    """

    def __init__(self, *paths: str) -> None:
        self.paths = paths

    def __str__(self) -> str:
        return f"deny devices on {', '.join(self.paths)}"

    def execute(self, udi: Udi) -> None:
        for path in self.paths:
            try:
                fd = udi.open(path, os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW)
            except OSError:
                continue  # the node has none
            try:
                syscalls.set_attributes(fd, syscalls.MOUNT_ATTR_NODEV, recursive=False, name=path)
            except OSError as error:
                if error.errno != errno.EINVAL:  # a directory where nothing is mounted
                    raise
            finally:
                os.close(fd)


def restrictions(attributes: int) -> str:
    words = [
        word
        for bit, word in (
            (syscalls.MOUNT_ATTR_NOSUID, "nosuid"),
            (syscalls.MOUNT_ATTR_NODEV, "nodev"),
            (syscalls.MOUNT_ATTR_NOEXEC, "noexec"),
        )
        if attributes & bit
    ]
    return ",".join(["ro" if attributes & syscalls.MOUNT_ATTR_RDONLY else "rw", *words])
