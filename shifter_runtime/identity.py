# SPDX-License-Identifier: BSD-3-Clause
"""Who called, and how every privilege is given up to become that user."""

from __future__ import annotations

import errno
import os

from shifter_runtime import node, syscalls
from shifter_runtime.errors import SetupError

_MOST_GROUPS = 512
_NOBODY = 65534  # a user without any right, as the kernel's overflowuid
_MOST_CAPABILITIES = 64  # bits of a capability set


class Identity:
    """A user as the kernel knew it when the launcher was started, with its names on this node.

    `groups` are the ids the process had, never more: the setuid bit adds no membership.
    """

    __slots__ = ("gecos", "gid", "group_names", "groups", "home", "name", "shell", "uid")

    def __init__(
        self,
        *,
        uid: int,
        gid: int,
        groups: list[int],
        name: str,
        gecos: str,
        home: str,
        shell: str,
        group_names: list[tuple[str, int]],
    ) -> None:
        self.uid = uid
        self.gid = gid
        self.groups = groups
        self.name = name
        self.gecos = gecos
        self.home = home
        self.shell = shell
        self.group_names = group_names


def caller(names: node.Names) -> Identity:
    """The user behind the real ids of this process."""
    uid, gid = _ids_of_caller()
    groups = sorted({group for group in (gid, *os.getgroups()) if group != 0})
    if len(groups) > _MOST_GROUPS:
        raise SetupError(f"user {uid} is in {len(groups)} groups, at most {_MOST_GROUPS} will do")
    entry = names.user(uid)
    if entry is None:
        raise SetupError(f"user id {uid} has no name on this node: {names.source} does not know it")
    return of_account(entry, gid, groups, names)


def _ids_of_caller() -> tuple[int, int]:
    uid, gid = os.getuid(), os.getgid()
    if uid == 0 or gid == 0:
        raise SetupError(
            "cannot be run as root: run it as the user for whom the program is "
            "(for example with: runuser -u NAME -- shifter …)"
        )
    return uid, gid


def of_account(account: node.User, gid: int, groups: list[int], names: node.Names) -> Identity:
    """An account in a process that was started with these groups."""
    return Identity(
        uid=account.uid,
        gid=gid,
        groups=groups,
        name=account.name,
        gecos=account.gecos,
        home=account.home,
        shell=account.shell,
        group_names=[(names.group(group), group) for group in groups],
    )


def hide() -> None:
    """Take root's ids entirely, so that the user can neither signal nor trace this process."""
    os.setgroups([])
    os.setresgid(0, 0, 0)
    os.setresuid(0, 0, 0)


_bound: list[tuple[int, int, int]] = []  # the signal, this process and its parent


def keep_death_signal(signal: int) -> None:
    """Have this process go on to end with its parent, by the signal that was asked for.

    The kernel takes that away with every change of ids (PR_SET_PDEATHSIG), so that a prolog which
    is killed would leave a setupRoot at work, with its lock.
    """
    if signal:
        _bound.append((signal, os.getpid(), os.getppid()))


def _renew_death_signal() -> None:
    for signal, process, parent in _bound:
        if process != os.getpid():
            return  # a child of it, which whoever made it looks after
        syscalls.prctl(syscalls.PR_SET_PDEATHSIG, signal)
        if os.getppid() != parent:  # which ended meanwhile
            os.kill(process, signal)


def open_as_caller(path: str, flags: int) -> int:
    """Open a file with the rights of whoever started this process; only before `hide`."""
    os.seteuid(os.getuid())
    try:
        return os.open(path, flags)
    finally:
        os.seteuid(0)
        _renew_death_signal()


def write(fd: int, content: bytes) -> None:
    """Write to a descriptor that the caller opened, with no privilege: a place to say something.

    It may be a file of the kernel's (`/proc/PID/loginuid`, say), where the same bytes would be an
    order if root wrote them, and some of what is said is of the caller's or the image's choosing.
    """
    privileged = os.geteuid() == 0 and _lay_down_root()
    try:
        while content:
            content = content[os.write(fd, content) :]
    finally:
        if privileged:
            os.seteuid(0)
            _renew_death_signal()


def _lay_down_root() -> bool:
    """Whether root's rights could be laid down for a while."""
    try:
        os.seteuid(_NOBODY)
    except OSError as error:
        if error.errno != errno.EINVAL:
            raise
        return False  # the root of a user namespace, who has no right outside of it
    return True


class AsUser:
    """Within it, files are looked up and opened with the user's rights, by the kernel itself."""

    __slots__ = ("_user",)

    def __init__(self, user: Identity) -> None:
        self._user = user

    def __enter__(self) -> None:
        os.setgroups(self._user.groups)
        os.setegid(self._user.gid)
        os.seteuid(self._user.uid)

    def __exit__(self, *failure: object) -> None:
        os.seteuid(0)
        os.setegid(0)
        os.setgroups([])
        _renew_death_signal()


class AsOwner:
    """Within it, files are opened as the account that they belong to, which the site trusts.

    Root has no rights of his own on a filesystem that squashes them, as most shared ones do.
    """

    __slots__ = ("_uid",)

    def __init__(self, uid: int) -> None:
        self._uid = uid

    def __enter__(self) -> None:
        os.seteuid(self._uid)

    def __exit__(self, *failure: object) -> None:
        os.seteuid(0)
        _renew_death_signal()


class CountedAs:
    """Within it, root keeps his rights, and what he takes of the kernel counts as the user's.

    The kernel lets one user have so many namespaces, and a user can hold thousands by descriptors
    alone: if they were root's, root would soon get none any more.
    """

    __slots__ = ("_user",)

    def __init__(self, user: Identity) -> None:
        self._user = user

    def __enter__(self) -> None:
        # Capabilities outlive a change of the effective user id (capabilities(7)).
        syscalls.prctl(syscalls.PR_SET_SECUREBITS, syscalls.SECBIT_NO_SETUID_FIXUP)
        os.seteuid(self._user.uid)

    def __exit__(self, *failure: object) -> None:
        os.seteuid(0)
        syscalls.prctl(syscalls.PR_SET_SECUREBITS, 0)
        _renew_death_signal()


def become(user: Identity) -> None:
    """Give up every privilege for good; afterwards only exec is left to do.

    The order matters: what needs privilege goes first, and each step is one that the next cannot
    undo. See capabilities(7), "Effect of user ID changes on capabilities".
    """
    _empty_bounding_set()
    syscalls.prctl(syscalls.PR_SET_NO_NEW_PRIVS, 1)
    os.setgroups(user.groups)
    os.setresgid(user.gid, user.gid, user.gid)
    os.setresuid(user.uid, user.uid, user.uid)
    syscalls.prctl(syscalls.PR_CAP_AMBIENT, syscalls.PR_CAP_AMBIENT_CLEAR_ALL)
    syscalls.clear_capabilities()
    _require_become(user)


def become_caller() -> None:
    """Be again what the caller was before the set-uid bit; only before `hide`.

    Neither is the bounding set emptied nor no_new_privs set: programs that the caller starts keep
    what the administrator gave them, as in any shell.
    """
    uid, gid = _ids_of_caller()
    groups = sorted(os.getgroups())
    os.setresgid(gid, gid, gid)
    os.setresuid(uid, uid, uid)
    syscalls.prctl(syscalls.PR_CAP_AMBIENT, syscalls.PR_CAP_AMBIENT_CLEAR_ALL)
    syscalls.clear_capabilities()
    if (
        os.getresuid() != (uid,) * 3
        or os.getresgid() != (gid,) * 3
        or sorted(os.getgroups()) != groups
    ):
        os.abort()


def _empty_bounding_set() -> None:
    """Drop what the kernel knows; it refuses the first number that is no capability.

    Nothing is read for that: by now, /proc may be what image and user made of it.
    """
    for capability in range(_MOST_CAPABILITIES):
        try:
            syscalls.prctl(syscalls.PR_CAPBSET_DROP, capability)
        except OSError as error:
            if error.errno != errno.EINVAL or capability == 0:
                raise
            return


def _require_become(user: Identity) -> None:
    """Whatever went wrong before, a process that is still somebody else must not go on."""
    if (
        os.getresuid() != (user.uid,) * 3
        or os.getresgid() != (user.gid,) * 3
        or sorted(os.getgroups()) != user.groups
    ):
        os.abort()
