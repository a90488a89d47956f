# SPDX-License-Identifier: BSD-3-Clause
"""Open what a user names, and nothing that the user could not open.

Where the gateway may become the user, the kernel decides. Else the gateway's account opens the path
and this module decides, on descriptors: what it judged is what it opened, whoever renames or
replaces files meanwhile. The account's own files are then nobody's to import: an image directory
holds the private images of all users.
"""

from __future__ import annotations

import dataclasses
import errno
import os
import stat
from collections.abc import Iterator
from pathlib import Path

from shifter_imagegw.errors import PullError
from shifter_imagegw.importers.identity import Importer

_MOST_LINKS = 40  # as the kernel follows
_LONGEST_PATH = 4095  # bytes
_SEARCH, _READ = 0o1, 0o4
# Files that are questions to the kernel, or ways into other processes.
_PSEUDO = frozenset(
    (
        *("proc", "sysfs", "devtmpfs", "devpts", "cgroup", "cgroup2", "debugfs", "tracefs"),
        *("securityfs", "configfs", "bpf", "mqueue", "pstore", "efivarfs", "fusectl", "nsfs"),
    )
)


class Rules:
    """What may be opened: on behalf of `who`, where the kernel does not know of them."""

    def __init__(self, judged_for: Importer | None) -> None:
        self._who = judged_for
        self.pseudo_devices = _pseudo_devices()

    def require(self, descriptor: int, status: os.stat_result, wanted: int, shown: str) -> None:
        """Refuse what is no file of a filesystem, or not for this user."""
        if status.st_dev in self.pseudo_devices:
            raise PullError(f"cannot import {shown}: it is no file that is stored anywhere")
        if wanted and self._who and not self._may(self._who, descriptor, status, wanted):
            raise PullError(
                f"cannot import {shown}: the gateway has to see that you may read it, and it is"
                " neither yours nor readable for all: copy the file to where you may let all users"
                " of the gateway's host read it"
            )

    def _may(self, who: Importer, descriptor: int, status: os.stat_result, wanted: int) -> bool:
        if status.st_uid == who.uid:
            return True
        if _has_access_list(descriptor):
            return False  # it may well be there to keep this user out
        if status.st_gid in who.groups or status.st_gid == who.gid:
            wanted |= wanted << 3  # nor may the user be in a group that is kept out
        return status.st_mode & wanted == wanted


def open_path(path: str, rules: Rules) -> int:
    """What `path` leads to, as a descriptor that only names it (O_PATH)."""
    shown = repr(path)
    if not path.startswith("/") or "\0" in path or len(os.fsencode(path)) > _LONGEST_PATH:
        raise PullError(f"cannot import {shown[:200]}: give an absolute path")
    try:
        return _walk(path, rules, shown)
    except OSError as error:
        raise _failure(shown, error) from error


def reopen_file(descriptor: int, status: os.stat_result, shown: str) -> int:
    """A readable descriptor of a regular file; nothing else is ever opened for reading."""
    if not stat.S_ISREG(status.st_mode):
        raise PullError(f"cannot import {shown}: it is {_kind(status.st_mode)}, not a file")
    return os.open(
        f"/proc/self/fd/{descriptor}", os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
    )


def open_file(path: str, rules: Rules) -> int:
    """The regular file at `path`, readable."""
    descriptor = open_path(path, rules)
    try:
        status = os.fstat(descriptor)
        rules.require(descriptor, status, _READ, repr(path))
        return reopen_file(descriptor, status, repr(path))
    except OSError as error:
        raise _failure(repr(path), error) from error
    finally:
        os.close(descriptor)


def open_directory(path: str, rules: Rules) -> int:
    """The directory at `path`, readable."""
    descriptor = open_path(path, rules)
    try:
        status = os.fstat(descriptor)
        rules.require(descriptor, status, _READ | _SEARCH, repr(path))
        if not stat.S_ISDIR(status.st_mode):
            kind = _kind(status.st_mode)
            raise PullError(f"cannot import {path!r}: it is {kind}, not a directory")
        return os.open(".", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=descriptor)
    except OSError as error:
        raise _failure(repr(path), error) from error
    finally:
        os.close(descriptor)


def _walk(path: str, rules: Rules, shown: str) -> int:
    """Step by step, so that each directory on the way, and each link, is looked at once."""
    parts = path.split("/")[::-1]
    links = 0
    here = os.open("/", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        while parts:
            part = parts.pop()
            if part in ("", "."):
                continue
            status = os.fstat(here)
            rules.require(here, status, _SEARCH, shown)
            there = _step(part, here)
            status = os.fstat(there)
            if not stat.S_ISLNK(status.st_mode):
                os.close(here)
                here = there
                continue
            try:
                target = os.readlink("", dir_fd=there)
                rules.require(there, status, 0, shown)
            finally:
                os.close(there)
            links += 1
            if links > _MOST_LINKS:
                raise OSError(errno.ELOOP, os.strerror(errno.ELOOP))
            if target.startswith("/"):
                os.close(here)
                here = os.open("/", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
            parts += target.split("/")[::-1]
        _require_answering(here, shown)
        rules.require(here, os.fstat(here), 0, shown)
    except BaseException:
        os.close(here)
        raise
    return here


def _step(part: str, directory: int) -> int:
    flags = os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC
    try:
        # Only who asks for a directory has automounted ones mounted.
        return os.open(part, flags | os.O_DIRECTORY, dir_fd=directory)
    except NotADirectoryError:
        return os.open(part, flags, dir_fd=directory)


def _require_answering(descriptor: int, shown: str) -> None:
    """Refuse what a program of a user's serves: who reads it waits for as long as that likes.

    The kernel says where a descriptor lies without asking that program.
    """
    lines = Path(f"/proc/self/fdinfo/{descriptor}").read_text().splitlines()
    facts = dict(line.partition(":")[::2] for line in lines)
    # One that is in no list is not mounted any more, but may still be read.
    found = [mount for mount in _mounts() if mount.number == facts["mnt_id"].strip()]
    if any(not mount.kind.startswith("fuse") or "user_id=0" in mount.options for mount in found):
        return
    raise PullError(
        f"cannot import {shown}: it lies on a filesystem that is a program of a user's (FUSE):"
        " copy it elsewhere"
    )


def _has_access_list(descriptor: int) -> bool:
    try:
        os.getxattr(f"/proc/self/fd/{descriptor}", "system.posix_acl_access")
    except OSError as error:
        return error.errno not in (errno.ENODATA, errno.EOPNOTSUPP)
    return True


def _pseudo_devices() -> frozenset[int]:
    return frozenset(mount.device for mount in _mounts() if mount.kind in _PSEUDO)


@dataclasses.dataclass(frozen=True)
class _Mount:
    """A line of proc_pid_mountinfo(5)."""

    number: str
    device: int
    kind: str
    options: list[str]  # of the filesystem


def _mounts() -> Iterator[_Mount]:
    # Users may mount, too (FUSE), on names that are no text.
    content = Path("/proc/self/mountinfo").read_bytes().decode(errors="replace")
    for line in content.split("\n")[:-1]:
        mount, _, filesystem = line.partition(" - ")
        number, _, device, *_ = mount.split(" ")
        kind, _, options = filesystem.split(" ", 2)
        major, minor = map(int, device.split(":"))
        yield _Mount(number, os.makedev(major, minor), kind, options.split(","))


def _kind(mode: int) -> str:
    if stat.S_ISDIR(mode):
        return "a directory"
    if stat.S_ISREG(mode):
        return "a file"
    return "a pipe, a socket or a device"


def _failure(shown: str, error: OSError) -> PullError:
    if error.errno == errno.EACCES:
        return PullError(
            f"cannot import {shown}: no permission to read it on the gateway's host as user"
            f" {os.geteuid()}: let everybody read it (chmod), or put it where they can"
        )
    return PullError(f"cannot import {shown}: {error.strerror} (on the gateway's host)")
