# SPDX-License-Identifier: BSD-3-Clause
"""What a container needs for its user to log in from the job's other nodes, and to go there."""

from __future__ import annotations

import os
import stat

from shifter_runtime import syscalls, trust
from shifter_runtime.errors import SetupError
from shifter_runtime.identity import Identity
from shifter_runtime.udi import Udi, split

_RESTRICTIONS = syscalls.MOUNT_ATTR_NOSUID | syscalls.MOUNT_ATTR_NODEV | syscalls.MOUNT_ATTR_NOEXEC
_SIZE = "8m"  # keys, configuration, log
_SHELL = "/bin/sh"
_ANY_MAY_EXECUTE = 0o111


class MountPrivate:
    """Mount a directory in memory that only the user can look into, with files of his.

    It is filled before it is seen, and stays writable for him when the root is sealed.
    """

    def __init__(self, place: str, user: Identity, files: dict[str, bytes]) -> None:
        self.place = place
        self.user = user
        self.files = files

    def __str__(self) -> str:
        names = ", ".join(self.files)
        return f"mount tmpfs on {self.place} for {self.user.name} alone, with {names}"

    def execute(self, udi: Udi) -> None:
        owner = (("uid", str(self.user.uid)), ("gid", str(self.user.gid)))
        options = (("mode", "0700"), ("size", _SIZE), *owner)
        mount = syscalls.make_filesystem("tmpfs", options, _RESTRICTIONS)
        for name, content in self.files.items():
            self._write(mount, name, content)
        target = self._open_target(udi)
        syscalls.attach(mount, target, self.place)
        os.close(target)
        os.close(mount)

    def _write(self, directory: int, name: str, content: bytes) -> None:
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        fd = os.open(name, flags, 0o400, dir_fd=directory)
        try:
            while content:
                content = content[os.write(fd, content) :]
            os.fchown(fd, self.user.uid, self.user.gid)
        finally:
            os.close(fd)

    def _open_target(self, udi: Udi) -> int:
        """Where an image's link cannot have led it: out of what ends with the container."""
        target = udi.replace_directory(self.place)
        if os.fstat(target).st_dev not in udi.devices:
            os.close(target)
            raise SetupError(
                f"cannot mount {self.place}: in this image, that is outside of the container's root"
            )
        return target


class LinkProgram:
    """Make a program of the site's the one that is found at a path of the image's.

    With `only_missing`, an image that has one keeps it. Where something is mounted over the path,
    that stays as it is: whoever mounted it knows better.
    """

    def __init__(self, path: str, program: str, *, only_missing: bool = False) -> None:
        self.path = path
        self.program = program
        self.only_missing = only_missing

    def __str__(self) -> str:
        missing = " where there is none" if self.only_missing else ""
        return f"link {self.path} -> {self.program}{missing}"

    def execute(self, udi: Udi) -> None:
        if self.only_missing and self._is_there(udi):
            return
        try:
            udi.write_link(self.path, self.program)
        except (SetupError, IsADirectoryError):
            return

    def _is_there(self, udi: Udi) -> bool:
        try:
            os.close(udi.open(self.path))
        except OSError:
            return False
        return True


class GiveLoginShell:
    """Let /etc/passwd name a shell that the image has: sshd refuses who has another one."""

    def __init__(self, user: Identity) -> None:
        self.user = user

    def __str__(self) -> str:
        return f"make {_SHELL} the shell of {self.user.name} where {self.user.shell} is missing"

    def execute(self, udi: Udi) -> None:
        if self._may_be_executed(udi, self.user.shell) or not self._may_be_executed(udi, _SHELL):
            return
        path = "/etc/passwd"
        fd = udi.open(path, os.O_RDONLY | os.O_NONBLOCK)
        try:
            lines = trust.read_all(fd, path).split(b"\n")
        finally:
            os.close(fd)
        name = os.fsencode(self.user.name) + b":"
        content = b"\n".join(
            line.rpartition(b":")[0] + b":" + _SHELL.encode() if line.startswith(name) else line
            for line in lines
        )
        udi.write_file(path, content, 0o644)

    def _may_be_executed(self, udi: Udi, path: str) -> bool:
        if not path.startswith("/"):
            return False
        try:
            fd = udi.open(path, user=self.user)
        except OSError:
            return False
        mode = os.fstat(fd).st_mode
        os.close(fd)
        return stat.S_ISREG(mode) and bool(mode & _ANY_MAY_EXECUTE)


class RemoveFile:
    """Hide a file of the image's."""

    def __init__(self, path: str) -> None:
        self.path = path

    def __str__(self) -> str:
        return f"remove {self.path}"

    def execute(self, udi: Udi) -> None:
        parent, name = split(self.path)
        try:
            directory = udi.open(parent, os.O_PATH | os.O_DIRECTORY)
        except OSError:
            return
        try:
            if os.fstat(directory).st_dev in udi.devices:
                os.unlink(name, dir_fd=directory)
        except (FileNotFoundError, IsADirectoryError):
            return
        finally:
            os.close(directory)
