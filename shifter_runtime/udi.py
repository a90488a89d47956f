# SPDX-License-Identifier: BSD-3-Clause
"""The user-defined image while it is being built: every path is looked up inside it.

The image's content is hostile: any name in it may be a symbolic link to anywhere, or a thing of
another type than expected. So each lookup starts at the descriptor of the container's root and
cannot leave it (RESOLVE_IN_ROOT of openat2(2)), and what was found is used by descriptor.
"""

from __future__ import annotations

import os
import stat

from shifter_runtime import syscalls
from shifter_runtime.errors import SetupError

_RESOLVE = syscalls.RESOLVE_IN_ROOT | syscalls.RESOLVE_NO_MAGICLINKS


class Udi:
    """The container's root, mounted at `place` in this process's mount namespace."""

    __slots__ = ("device", "place", "root")

    def __init__(self, place: str, root: int) -> None:
        self.place = place
        self.root = root
        self.device = os.fstat(root).st_dev

    def open(self, path: str, flags: int = os.O_PATH) -> int:
        """A descriptor of what `path` means inside the container."""
        return syscalls.open_in(self.root, path, flags, _RESOLVE)

    def place_of(self, fd: int) -> str:
        """The path, inside the container, of the object that `fd` is open on."""
        path = os.readlink(f"/proc/self/fd/{fd}")
        if path != self.place and not path.startswith(self.place + "/"):
            raise SetupError(f"{path} is not inside the container")
        return path[len(self.place) :] or "/"

    def open_directory(self, path: str, mode: int = 0o755) -> int:
        """A descriptor of the directory `path`, made with its parents where it is missing."""
        try:
            return self.open(path, os.O_PATH | os.O_DIRECTORY)
        except FileNotFoundError:
            pass
        parent, name = split(path)
        directory = self.open_directory(parent)
        try:
            self._require_own(directory, path)
            try:
                os.mkdir(name, mode, dir_fd=directory)
            except FileExistsError:
                raise SetupError(
                    f"cannot make {path} in the container: the image has a symbolic link to "
                    "nowhere in its place; choose another path"
                ) from None
        finally:
            os.close(directory)
        return self.open(path, os.O_PATH | os.O_DIRECTORY)

    def replace_directory(self, path: str, mode: int = 0o755) -> int:
        """The directory `path`; what the image has there instead, if anything, is hidden."""
        try:
            return self.open_directory(path, mode)
        except (NotADirectoryError, SetupError):
            pass
        parent, name = split(path)
        directory = self.replace_directory(parent)
        try:
            self._require_own(directory, path)
            os.unlink(name, dir_fd=directory)
        finally:
            os.close(directory)
        return self.open_directory(path, mode)

    def open_target(self, path: str, *, is_directory: bool) -> int:
        """A descriptor of the mount point `path`, made where it is missing."""
        fd = self.open_directory(path) if is_directory else self._open_file_target(path)
        if stat.S_ISDIR(os.fstat(fd).st_mode) != is_directory:
            os.close(fd)
            raise SetupError(
                f"cannot mount a {'directory' if is_directory else 'file'} over {path}, "
                f"which is a {'file' if is_directory else 'directory'}"
            )
        return fd

    def write_file(self, path: str, content: bytes, mode: int) -> None:
        """Put a file of root's at `path`, in place of what the image has there."""
        directory, name = self._parent_of_replaced(path)
        try:
            flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
            fd = os.open(name, flags, mode, dir_fd=directory)
        finally:
            os.close(directory)
        try:
            while content:
                content = content[os.write(fd, content) :]
        finally:
            os.close(fd)

    def write_link(self, path: str, target: str) -> None:
        """Put a symbolic link at `path`, in place of what the image has there."""
        directory, name = self._parent_of_replaced(path)
        try:
            os.symlink(target, name, dir_fd=directory)
        finally:
            os.close(directory)

    def _parent_of_replaced(self, path: str) -> tuple[int, str]:
        parent, name = split(path)
        directory = self.replace_directory(parent)
        try:
            self._require_own(directory, path)
            os.unlink(name, dir_fd=directory)
        except FileNotFoundError:
            pass
        except OSError:
            os.close(directory)
            raise
        return directory, name

    def _open_file_target(self, path: str) -> int:
        try:
            return self.open(path)
        except FileNotFoundError:
            pass
        self.write_file(path, b"", 0o644)
        return self.open(path)

    def _require_own(self, directory: int, path: str) -> None:
        """Root makes nothing on a filesystem that outlives the container."""
        if os.fstat(directory).st_dev != self.device:
            raise SetupError(
                f"cannot make {path} in the container: {self.place_of(directory)} lies on another "
                "filesystem; make it there yourself first, or choose another path"
            )


def split(path: str) -> tuple[str, str]:
    """Parent and name of an absolute path; the parent of a name in `/` is `/`."""
    parent, _, name = path.rstrip("/").rpartition("/")
    return parent or "/", name
