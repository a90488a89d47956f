# SPDX-License-Identifier: BSD-3-Clause
"""A directory that is, or was, the root of a system: paths and links in it are read as its own."""

from __future__ import annotations

import os
import stat
from typing import BinaryIO

from shifter_cli.modules.errors import CheckError

_MOST_LINKS = 40  # that the kernel follows, too


class RootTree:
    """Looks paths up below `root` as a process would whose root it is.

    Not a fence against somebody who exchanges names meanwhile: what is read is only ever
    understood as a shared object.
    """

    def __init__(self, root: str = "/") -> None:
        self.root = os.path.abspath(root)
        if not os.path.isdir(self.root):
            raise CheckError(f"{root!r} is not a directory")

    def __str__(self) -> str:
        return self.root

    def resolve(self, path: str) -> str | None:
        """The same path without links, or None where there is nothing."""
        done: list[str] = []
        todo = path.split("/")[::-1]
        links = 0
        while todo:
            part = todo.pop()
            if part in ("", "."):
                continue
            if part == "..":
                done = done[:-1]
                continue
            here = self.outside("/".join([*done, part]))
            try:
                mode = os.lstat(here).st_mode
                if not stat.S_ISLNK(mode):
                    done.append(part)
                    continue
                target = os.readlink(here)
            except OSError:
                return None
            links += 1
            if links > _MOST_LINKS:
                return None
            if target.startswith("/"):
                done = []
            todo += target.split("/")[::-1]
        return "/" + "/".join(done)

    def outside(self, path: str) -> str:
        """Where a path of the tree is for this process."""
        return os.path.join(self.root, path.lstrip("/"))

    def open(self, path: str) -> BinaryIO | None:
        """Open a regular file, or nothing; a FIFO keeps nobody waiting."""
        resolved = self.resolve(path)
        if resolved is None:
            return None
        try:
            fd = os.open(
                self.outside(resolved), os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
            )
        except OSError:
            return None
        if not stat.S_ISREG(os.fstat(fd).st_mode):
            os.close(fd)
            return None
        return os.fdopen(fd, "rb")

    def names(self, directory: str) -> list[str]:
        """What is in a directory, sorted; nothing where there is none."""
        resolved = self.resolve(directory)
        if resolved is None:
            return []
        try:
            return sorted(os.listdir(self.outside(resolved)))
        except OSError:
            return []
