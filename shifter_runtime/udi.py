# SPDX-License-Identifier: BSD-3-Clause
"""The user-defined image while it is being built: every path is looked up inside it.

The image's content is hostile: any name in it may be a symbolic link to anywhere, or a thing of
another type than expected. So each lookup starts at the descriptor of the container's root and
cannot leave it (RESOLVE_IN_ROOT of openat2(2)), and what was found is used by descriptor.
"""

from __future__ import annotations

import errno
import os
import stat

from shifter_runtime import syscalls
from shifter_runtime.errors import SetupError
from shifter_runtime.identity import AsUser, Identity

_RESOLVE = syscalls.RESOLVE_IN_ROOT | syscalls.RESOLVE_NO_MAGICLINKS
_MOST_LOOKUPS = 10_000  # each takes some microseconds


class Udi:
    """The container's root, mounted at `place` in this process's mount namespace.

    `devices` are those of filesystems that end with the container, each with (uid, gid) of who
    gets the directories that are made there; None is root.
    """

    __slots__ = ("devices", "place", "root")

    def __init__(self, place: str, root: int) -> None:
        self.place = place
        self.root = root
        self.devices: dict[int, tuple[int, int] | None] = {os.fstat(root).st_dev: None}

    def give(self, mount: int, user: Identity) -> None:
        """Let what is made on `mount`, a filesystem that ends with the container, be a user's."""
        self.devices[os.fstat(mount).st_dev] = (user.uid, user.gid)

    def open(self, path: str, flags: int = os.O_PATH, user: Identity | None = None) -> int:
        """A descriptor of what `path` means inside the container, for `user` or for root."""
        if user is None:
            return self._open(path, flags)
        with AsUser(user):
            return self._open(path, flags)

    def _open(self, path: str, flags: int) -> int:
        """Look up again where the kernel cannot tell whether `..` in a link has led outside.

        It cannot whenever something is renamed or mounted at that moment, anywhere on the node by
        anybody (openat2(2), EAGAIN).
        """
        for _ in range(_MOST_LOOKUPS):
            try:
                return syscalls.open_in(self.root, path, flags, _RESOLVE)
            except BlockingIOError:
                continue
        return syscalls.open_in(self.root, path, flags, _RESOLVE)

    def place_of(self, fd: int) -> str:
        """The path, inside the container, of the object that `fd` is open on."""
        path = os.readlink(f"/proc/self/fd/{fd}")
        if path != self.place and not path.startswith(self.place + "/"):
            raise SetupError(f"{path} is not inside the container")
        return path[len(self.place) :] or "/"

    def place_of_path(self, path: str) -> str:
        """Where `path` really is, after every symbolic link of the image."""
        fd = self.open(path)
        try:
            return self.place_of(fd)
        finally:
            os.close(fd)

    def open_directory(self, path: str, mode: int = 0o755, user: Identity | None = None) -> int:
        """A descriptor of the directory `path`, made with its parents where it is missing.

        What is there already is looked up with the rights of `user`, if that is given.
        """
        existing = path
        missing: list[str] = []
        while True:
            try:
                directory = self.open(existing, os.O_PATH | os.O_DIRECTORY, user)
                break
            except FileNotFoundError:
                existing, name = split(existing)
                missing.append(name)
        while missing:
            name = missing.pop()
            try:
                child = self._make_directory(directory, name, path, 0o755 if missing else mode)
            finally:
                os.close(directory)
            directory = child
        return directory

    def _make_directory(self, parent: int, name: str, path: str, mode: int) -> int:
        self._require_own(parent, path)
        try:
            os.mkdir(name, mode, dir_fd=parent)
        except FileExistsError:
            raise SetupError(
                f"cannot make {path} in the container: the image has a symbolic link to "
                "nowhere in its place; choose another path"
            ) from None
        owner = self.devices[os.fstat(parent).st_dev]
        if owner is not None:
            os.chown(name, *owner, dir_fd=parent, follow_symlinks=False)
        flags = os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
        return os.open(name, flags, dir_fd=parent)

    def remove_link(self, path: str) -> None:
        """Hide the symbolic link that the image has at `path`, a name in `/`, if it has one."""
        name = path[1:]
        try:
            found = os.stat(name, dir_fd=self.root, follow_symlinks=False)
        except FileNotFoundError:
            return
        if stat.S_ISLNK(found.st_mode):
            os.unlink(name, dir_fd=self.root)

    def replace_directory(self, path: str, mode: int = 0o755) -> int:
        """The directory `path`; what the image has there instead, if anything, is hidden."""
        try:
            return self.open_directory(path, mode)
        except (NotADirectoryError, SetupError):
            pass
        except OSError as error:
            if error.errno != errno.ELOOP:
                raise
        self._remove(path)
        return self.open_directory(path, mode)

    def open_mount_point(self, path: str) -> int:
        """The directory `path`, for the site; a link to `/`, which would be covered, is hidden."""
        directory = self.replace_directory(path)
        if not os.path.samestat(os.fstat(directory), os.fstat(self.root)):
            return directory
        os.close(directory)
        self._remove(path)
        return self.open_directory(path)

    def _remove(self, path: str) -> None:
        """Hide what the image has at `path` that is no directory."""
        parent, name = split(path)
        directory = self.replace_directory(parent)
        try:
            self._require_own(directory, path)
            os.unlink(name, dir_fd=directory)
        except FileNotFoundError:
            pass  # what was in the way has been the parent
        finally:
            os.close(directory)

    def open_target(self, path: str, *, is_directory: bool, user: Identity | None = None) -> int:
        """A descriptor of the mount point `path`, made where it is missing."""
        if is_directory:
            fd = self.open_directory(path, user=user)
        else:
            fd = self._open_file_target(path, user)
        if stat.S_ISDIR(os.fstat(fd).st_mode) != is_directory:
            os.close(fd)
            raise SetupError(
                f"cannot mount a {'directory' if is_directory else 'file'} over {path}, "
                f"which is a {'file' if is_directory else 'directory'}"
            )
        return fd

    def write_file(
        self, path: str, content: bytes, mode: int, user: Identity | None = None
    ) -> None:
        """Put a file of root's at `path`, in place of what the image has there."""
        directory, name = self._parent_of_replaced(path, user)
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

    def _parent_of_replaced(self, path: str, user: Identity | None = None) -> tuple[int, str]:
        parent, name = split(path)
        if user is None:
            directory = self.replace_directory(parent)
        else:
            directory = self.open_directory(parent, user=user)
        try:
            self._require_own(directory, path)
            os.unlink(name, dir_fd=directory)
        except FileNotFoundError:
            pass
        except IsADirectoryError:
            self._remove_empty(directory, name, path)
        except OSError:
            os.close(directory)
            raise
        return directory, name

    def _remove_empty(self, directory: int, name: str, path: str) -> None:
        try:
            os.rmdir(name, dir_fd=directory)
        except OSError as error:
            os.close(directory)
            raise SetupError(
                f"cannot write {path}: the image has a directory there, with something in it; "
                "build the image without that"
            ) from error

    def _open_file_target(self, path: str, user: Identity | None) -> int:
        try:
            return self.open(path, user=user)
        except FileNotFoundError:
            pass
        self.write_file(path, b"", 0o644, user)
        return self.open(path, user=user)

    def _require_own(self, directory: int, path: str) -> None:
        """Root makes nothing on a filesystem that outlives the container."""
        if os.fstat(directory).st_dev not in self.devices:
            raise SetupError(
                f"cannot make {path} in the container: {self.place_of(directory)} lies on another "
                "filesystem; make it there yourself first, or choose another path"
            )


def split(path: str) -> tuple[str, str]:
    """Parent and name of an absolute path; the parent of a name in `/` is `/`."""
    parent, _, name = path.rstrip("/").rpartition("/")
    return parent or "/", name
