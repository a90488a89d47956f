# SPDX-License-Identifier: BSD-3-Clause
"""The file behind a perNodeCache: the user's own, on a filesystem of the site's, without a name.

The kernel is about to parse what this file holds, so nobody may write to it but by the loop device:
whoever can change a mounted filesystem from below attacks the kernel (CVE-2023-30549 and its like).
The file is the user's, for the sake of quotas and because root may have no rights there at all. So
all depends on this: no process of the user's can open it, on any node.

- Where the filesystem can make files without a name (O_TMPFILE), it never has one.
- Elsewhere it has one for as long as two calls take: 128 random bits, in a directory that nobody
  may list. Then it must have none: NFS keeps another name for a file that is open, and is refused.

A lease on the file (F_SETLEASE) would not tell whether somebody has opened it: O_PATH does not
count there, nor does what other nodes have open.
"""

from __future__ import annotations

import errno
import os
import stat

from shifter_runtime import trust
from shifter_runtime.errors import SetupError, VolumeError
from shifter_runtime.identity import AsUser, Identity

_READ_WRITE = os.O_RDWR | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_NO_TMPFILE = (errno.EOPNOTSUPP, errno.EISDIR, errno.EINVAL, errno.ENOSYS)
_FUSE = ("fuse", "fuseblk")  # whatever stands behind a dot
_LISTABLE = stat.S_IRGRP | stat.S_IROTH
_HINTS = {
    errno.EFBIG: ": ask for a smaller size, or raise the limit (ulimit -f)",
    errno.EACCES: ": ask the administrator to let you write there (chmod 1733)",
}


def create(directory: str, size: int, user: Identity) -> int:
    """A new file of `size` bytes, all of them holes; it is gone when nothing holds it any more."""
    with AsUser(user):
        try:
            place = os.open(directory, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        except OSError as error:
            raise _failure(f"cannot open perNodeCachePath {directory}", error) from error
    try:
        _require_no_users_filesystem(place, directory)
        with AsUser(user):
            file = _create_without_name(place, directory)
            if file is None:
                file = _create_with_name(place, directory, user)
            _extend(file, size, directory)
    finally:
        os.close(place)
    return file


def _require_no_users_filesystem(place: int, directory: str) -> None:
    """Refuse what a program of a user's serves by FUSE: it could change what the kernel mounts.

    Where others may write to perNodeCachePath, they may mount such a thing over it.
    """
    # Not statfs(2), which would ask that program, and wait for its answer.
    (mount,) = (
        line.split()[1] for line in _lines(f"/proc/self/fdinfo/{place}") if "mnt_id:" in line
    )
    (about,) = (line for line in _lines("/proc/self/mountinfo") if line.startswith(f"{mount} "))
    fstype, _, options = about.partition(" - ")[2].split(" ", 2)
    owners = [option for option in options.split(",") if "user_id=" in option]
    if fstype.partition(".")[0] in _FUSE and not any(owner.endswith("=0") for owner in owners):
        raise SetupError(
            f"perNodeCachePath {directory} is on a filesystem that a user has mounted (FUSE), "
            "who could change what the kernel is to mount: ask the administrator to unmount it, "
            "and to let nobody mount there (chmod 1733)"
        )


def _lines(path: str) -> list[str]:
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        return os.fsdecode(trust.read_all(fd, path)).split("\n")
    finally:
        os.close(fd)


def _create_without_name(place: int, directory: str) -> int | None:
    """None where the filesystem cannot do that."""
    try:
        return os.open(".", _READ_WRITE | os.O_TMPFILE, 0o600, dir_fd=place)
    except OSError as error:
        if error.errno in _NO_TMPFILE:
            return None
        raise _failure(f"cannot make a file in perNodeCachePath {directory}", error) from error


def _create_with_name(place: int, directory: str, user: Identity) -> int:
    _require_secret_names(place, directory, user)
    node = os.uname().nodename.replace("/", "_")
    name = f"perNodeCache_uid{user.uid}_gid{user.gid}_{node}.xfs.{os.urandom(16).hex()}"
    try:
        file = os.open(name, _READ_WRITE | os.O_CREAT, 0o600, dir_fd=place)
    except OSError as error:
        raise _failure(f"cannot make a file in perNodeCachePath {directory}", error) from error
    finally:
        # Even when interrupted in between; nobody else can have a file of this name.
        _remove(name, place)
    if os.fstat(file).st_nlink != 0:
        os.close(file)
        raise SetupError(
            f"perNodeCachePath {directory} is on a filesystem that keeps names of files which are "
            "removed while they are open, as NFS does, so others could reach what the kernel has "
            "mounted: ask the administrator for another perNodeCachePath"
        )
    return file


def _remove(name: str, place: int) -> None:
    try:
        os.unlink(name, dir_fd=place)
    except OSError:  # there is no such file; or there is one still, as its links will tell
        return


def _require_secret_names(place: int, directory: str, user: Identity) -> None:
    """Refuse a directory that the user can list, by now or with another of the user's groups."""
    found = os.fstat(place)
    if found.st_uid == user.uid:
        problem = "belongs to you"
    elif found.st_mode & _LISTABLE:
        problem = f"can be listed by others than root (mode {stat.S_IMODE(found.st_mode):04o})"
    elif _can_list(place):
        problem = "can be listed by you"
    else:
        return
    raise SetupError(
        f"perNodeCachePath {directory} {problem}, and its filesystem cannot make files without a "
        "name, so what the kernel is to mount could be changed: ask the administrator to make it "
        "root's and nobody's to list (chmod 1733)"
    )


def _can_list(place: int) -> bool:
    try:
        os.close(os.open(".", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=place))
    except OSError:
        return False
    return True


def _extend(file: int, size: int, directory: str) -> None:
    try:
        os.ftruncate(file, size)
    except OSError as error:
        os.close(file)
        raise _failure(
            f"cannot make a file of {size} bytes in perNodeCachePath {directory}", error
        ) from error


def _failure(what: str, error: OSError) -> VolumeError:
    hint = _HINTS.get(error.errno or 0, "")
    return VolumeError(f"{what}: {error.strerror}{hint}")
