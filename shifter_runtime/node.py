# SPDX-License-Identifier: BSD-3-Clause
"""What this node knows that the container is told: users, groups, and files of /etc."""

from __future__ import annotations

import grp
import os
import pwd
import stat

from shifter_runtime import trust
from shifter_runtime.config import RuntimeConfig
from shifter_runtime.errors import SetupError

_TAKEN_OVER = ("hosts", "resolv.conf")


class User:
    """A line of passwd, without the password."""

    __slots__ = ("gecos", "gid", "home", "name", "shell", "uid")

    def __init__(self, name: str, uid: int, gid: int, gecos: str, home: str, shell: str) -> None:
        self.name = name
        self.uid = uid
        self.gid = gid
        self.gecos = gecos
        self.home = home
        self.shell = shell


class NodeFiles:
    """Texts for the container's /etc, by file name: the node's own, and those in etcPath."""

    __slots__ = ("own", "site")

    def __init__(self, own: dict[str, bytes], site: dict[str, bytes]) -> None:
        self.own = own
        self.site = site


class Names:
    """Who users and groups are: by the node's name service, or by the files in etcPath alone."""

    __slots__ = ("_config", "_lines")

    def __init__(self, config: RuntimeConfig) -> None:
        self._config = config
        self._lines: dict[str, list[str]] = {}

    @property
    def source(self) -> str:
        """What to call the place that names come from."""
        if self._config.allow_libc_pwd_calls:
            return "the node's name service"
        return f"{self._config.etc_path}/passwd"

    def user(self, key: int | str) -> User | None:
        """The user with this id or name."""
        if self._config.allow_libc_pwd_calls:
            try:
                found = pwd.getpwuid(key) if isinstance(key, int) else pwd.getpwnam(key)
            except KeyError:
                return None
            return User(
                *(found.pw_name, found.pw_uid, found.pw_gid),
                *(found.pw_gecos, found.pw_dir, found.pw_shell),
            )
        for line in self._of_site("passwd"):
            name, _, uid, gid, gecos, home, shell = (line.split(":") + [""] * 7)[:7]
            if str(key) != (uid if isinstance(key, int) else name):
                continue
            if uid.isdecimal() and gid.isdecimal():
                return User(name, int(uid), int(gid), gecos, home, shell)
        return None

    def group(self, gid: int) -> str:
        """The name of a group, or its number where nobody knows one."""
        if self._config.allow_libc_pwd_calls:
            try:
                return grp.getgrgid(gid).gr_name
            except KeyError:
                return str(gid)
        for line in self._of_site("group"):
            name, _, found, *_ = line.split(":") + [""] * 3
            if found == str(gid):
                return name
        return str(gid)

    def groups_of(self, user: User, gid: int) -> list[int]:
        """The groups that a process of `user` is in when it is started with group `gid`."""
        if self._config.allow_libc_pwd_calls:
            return sorted(os.getgrouplist(user.name, gid))
        groups = {gid, user.gid}
        for line in self._of_site("group"):
            _, _, number, members = (line.split(":") + [""] * 4)[:4]
            if number.isdecimal() and user.name in members.split(","):
                groups.add(int(number))
        return sorted(groups)

    def _of_site(self, name: str) -> list[str]:
        if name not in self._lines:
            # Not splitlines(): what else Unicode calls a line end may stand in a field.
            self._lines[name] = trust.read(f"{self._config.etc_path}/{name}").split("\n")
        return self._lines[name]


def read_files(config: RuntimeConfig) -> NodeFiles:
    """Read what the container's /etc takes over; etcPath only where it is to be used."""
    own = {}
    for name in _TAKEN_OVER:
        content = _read_own("/etc/" + name)
        if content is not None:
            own[name] = content
    site = {}
    if not config.populate_etc_dynamically:
        for name in sorted(_names(config.etc_path)):
            path = f"{config.etc_path}/{name}"
            site[name] = trust.read(path).encode("utf-8", "surrogateescape")
    return NodeFiles(own, site)


def _read_own(path: str) -> bytes | None:
    """A file of the node's own /etc; links such as resolv.conf's lead wherever the node wants."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise SetupError(f"cannot read {path}: {error.strerror}") from error
    try:
        return trust.read_all(fd, path)
    finally:
        os.close(fd)


def _names(directory: str) -> list[str]:
    try:
        with os.scandir(directory) as entries:
            return [entry.name for entry in entries if stat.S_ISREG(entry.stat().st_mode)]
    except OSError as error:
        raise SetupError(f"cannot read etcPath {directory}: {error.strerror}") from error
