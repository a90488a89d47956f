# SPDX-License-Identifier: BSD-3-Clause
"""Who imports, as the gateway's host knows them, and whether a process may become them."""

from __future__ import annotations

import dataclasses
import os
import pwd
from collections.abc import Collection
from pathlib import Path

from shifter_imagegw.errors import PullError

_NOBODY = _NO_GROUP = 65534
_FIRST_USER = 1000  # uids below are those of the system, see UID_MIN in login.defs(5)
_CAP_SETGID, _CAP_SETUID = 6, 7
_BECOMING = 1 << _CAP_SETGID | 1 << _CAP_SETUID


@dataclasses.dataclass(frozen=True, kw_only=True)
class Importer:
    """A user with the groups that this host says they are in."""

    uid: int
    gid: int
    groups: tuple[int, ...]
    name: str

    @classmethod
    def of(cls, uid: int | None, *, named: Collection[str] = ()) -> Importer:
        """Whoever has this uid; without an entry in the passwd database, nothing but the uid.

        Root of some node may call itself anybody there, and is not to have the files of root, of
        servers or of the gateway on this host. So unless the site names them among those who
        import (`named`), these read what all may read.
        """
        if uid is None:
            raise PullError("nobody knows who asked for this import: ask for it once more")
        try:
            entry = pwd.getpwuid(uid)
        except KeyError:
            name, gid, groups = str(uid), _NO_GROUP, tuple[int, ...]()
        else:
            name, gid = entry.pw_name, entry.pw_gid
            groups = tuple(os.getgrouplist(name, gid))
        if (uid < _FIRST_USER or uid == os.geteuid()) and not {name, str(uid)} & set(named):
            return cls(uid=_NOBODY, gid=_NO_GROUP, groups=(), name=name)
        return cls(uid=uid, gid=gid, groups=groups, name=name)


def may_become_others() -> bool:
    """Whether this process may give itself the ids of any user."""
    return os.geteuid() == 0 or _capabilities() & _BECOMING == _BECOMING


def become(who: Importer) -> None:
    """Open files as `who` from now on, and as nobody else; for a process that does nothing more.

    The real and the saved ids stay the gateway's, whose memory the process has: so the kernel lets
    the user neither trace nor stop it, and lets the gateway end it without CAP_KILL.
    """
    os.setgroups(who.groups)
    os.setresgid(-1, who.gid, -1)
    os.setresuid(-1, who.uid, -1)
    # The kernel takes the highest number for none, and changes nothing.
    if (os.geteuid(), os.getegid()) != (who.uid, who.gid):
        raise PullError(f"cannot open files as user {who.name}, whose ids are none")
    # The kernel takes root's capabilities away on the way to another user. An account that was
    # given some keeps them, and with most of those it could read what the user cannot.
    if who.uid != 0 and _capabilities() & ~_BECOMING:
        raise PullError(
            f"cannot open files as user {who.name}: the gateway's process has more capabilities"
            " than CAP_SETUID and CAP_SETGID, so it would open what the user may not"
        )


def _capabilities() -> int:
    """Those in effect."""
    for line in Path("/proc/thread-self/status").read_text().splitlines():
        if line.startswith("CapEff:"):
            return int(line.split()[1], 16)
    return 0
