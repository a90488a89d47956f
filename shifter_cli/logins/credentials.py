# SPDX-License-Identifier: BSD-3-Clause
"""A user's registry logins in ~/.udiRoot/.cred: `system:location=<munge credential>` per line."""

from __future__ import annotations

import contextlib
import errno
import os
import pwd
import stat
from collections.abc import Iterator

from shifter_cli.errors import CredentialFileError

_DIRECTORY = ".udiRoot"
_FILE = ".cred"
_PARTIAL = ".cred.partial"
_LARGEST_FILE = 1 << 20  # bytes; a credential takes some hundred
_NOT_THERE = frozenset({errno.ENOENT, errno.ENOTDIR})


class CredentialFile:
    """The file of one user. Links are never followed: others may write where a home leads to."""

    def __init__(self, home: str, uid: int) -> None:
        self.path = os.path.join(home, _DIRECTORY, _FILE)
        self._directory = os.path.join(home, _DIRECTORY)
        self._uid = uid

    @classmethod
    def of_caller(cls) -> CredentialFile:
        """By the passwd database: the environment's HOME may be anything."""
        uid = os.getuid()
        try:
            return cls(pwd.getpwuid(uid).pw_dir, uid)
        except KeyError as error:
            raise CredentialFileError(f"user {uid} has no entry in the passwd database") from error

    def locations(self, system: str) -> dict[str, str]:
        """The munge credential of each location of a system."""
        found = {}
        for line in self._read():
            key = _key(line)
            line_system, separator, location = key.partition(":")
            if separator and location and line_system == system:
                found[location] = line.partition("=")[2].strip()
        return found

    def store(self, system: str, location: str, credential: str) -> None:
        """Add or replace the line of a location; all others stay as they are."""
        key = f"{system}:{location}"
        lines = self._read()
        new = f"{key}={credential}"
        if key in map(_key, lines):
            lines = [new if _key(line) == key else line for line in lines]
        else:
            lines.append(new)
        self._write(lines)

    def remove(self, system: str, location: str) -> None:
        key = f"{system}:{location}"
        lines = self._read()
        kept = [line for line in lines if _key(line) != key]
        if len(kept) == len(lines):
            known = ", ".join(sorted(self.locations(system))) or "none"
            raise CredentialFileError(
                f"{self.path} has no login for {location} on {system}: it has {known}"
            )
        self._write(kept)

    def remove_all(self, system: str) -> None:
        """Forget the logins at every location of a system."""
        lines = self._read()
        kept = [line for line in lines if _key(line).partition(":")[0] != system]
        if len(kept) < len(lines):
            self._write(kept)

    def _read(self) -> list[str]:
        try:
            with self._opened_directory() as directory:
                descriptor = os.open(
                    _FILE, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK, dir_fd=directory
                )
                with open(descriptor, encoding="utf-8", errors="surrogateescape") as file:
                    status = os.fstat(file.fileno())
                    if not stat.S_ISREG(status.st_mode):
                        raise CredentialFileError(f"{self.path} is not a regular file: remove it")
                    self._require_own(status, self.path)
                    return file.read(_LARGEST_FILE).splitlines()
        except OSError as error:
            if error.errno in _NOT_THERE and not os.path.islink(self._directory):
                return []
            raise self._failure("read", error) from error

    def _write(self, lines: list[str]) -> None:
        """Replace the file whole, so that it is never seen half-written."""
        try:
            with contextlib.suppress(FileExistsError):
                os.mkdir(self._directory, 0o700)
            with self._opened_directory() as directory:
                os.fchmod(directory, 0o700)
                with contextlib.suppress(FileNotFoundError):
                    os.unlink(_PARTIAL, dir_fd=directory)
                descriptor = os.open(
                    _PARTIAL,
                    os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW,
                    0o600,
                    dir_fd=directory,
                )
                with open(descriptor, "w", encoding="utf-8", errors="surrogateescape") as file:
                    os.fchmod(file.fileno(), 0o600)  # whatever the umask takes away
                    file.writelines(f"{line}\n" for line in lines)
                    file.flush()
                    os.fsync(file.fileno())
                os.rename(_PARTIAL, _FILE, src_dir_fd=directory, dst_dir_fd=directory)
        except OSError as error:
            raise self._failure("write", error) from error

    @contextlib.contextmanager
    def _opened_directory(self) -> Iterator[int]:
        descriptor = os.open(self._directory, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
        try:
            self._require_own(os.fstat(descriptor), self._directory)
            yield descriptor
        finally:
            os.close(descriptor)

    def _require_own(self, status: os.stat_result, path: str) -> None:
        if status.st_uid != self._uid:
            raise CredentialFileError(
                f"{path} belongs to user {status.st_uid}, not to you: remove it and log in again"
            )

    def _failure(self, doing: str, error: OSError) -> CredentialFileError:
        for path in (self._directory, self.path):
            # A link in the directory's place is reported by the kernel as "not a directory".
            if os.path.islink(path):
                return CredentialFileError(
                    f"cannot {doing} {self.path}: {path} is a symbolic link; remove it"
                )
        return CredentialFileError(f"cannot {doing} {self.path}: {error.strerror}")


def require_login(location: str, username: str, password: str) -> None:
    """Refuse what the file or the gateway could not tell apart again."""
    if not location or any(c in "=#" or c.isspace() or not c.isprintable() for c in location):
        raise CredentialFileError(f"{location!r} cannot be the name of a location")
    if not username or not password:
        raise CredentialFileError("user name or password is empty, so no login is stored")
    if ":" in username:
        raise CredentialFileError("a user name cannot hold a colon")


def _key(line: str) -> str:
    """`system:location`, or nothing for a comment."""
    key, separator, _ = line.partition("=")
    return key.strip() if separator and not line.startswith("#") else ""
