# SPDX-License-Identifier: BSD-3-Clause
"""The texts of passwd, group and their like, by which the container knows its users.

The functions only make text. Names come from directory services, which may hold anything, so each
field is checked: none may add a field or a line of its own.
"""

from __future__ import annotations

from shifter_runtime.errors import SetupError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Protocol

    class Account(Protocol):
        """A user, as `identity.Identity` or anything else that knows these."""

        uid: int
        gid: int
        name: str
        gecos: str
        home: str
        shell: str


_ROOT_ACCOUNT = "root:x:0:0:root:/root:/bin/sh"
_ROOT_GROUP = "root:x:0:"
_BREAKS_FIELD = frozenset(":\n\r\0")

NSSWITCH_CONF = """\
passwd: files
group: files
hosts: files dns
networks:   files dns
services: files
protocols: files
rpc: files
ethers: files
netmasks: files
netgroup: files
publickey: files
bootparams: files
automount: files
aliases: files
"""

HOST_CONF = """\
order bind,hosts
multi on
"""


def passwd(accounts: Iterable[Account]) -> str:
    """A passwd file of root and these accounts; the first line for a name or user id counts."""
    return add_to_passwd("", accounts)


def add_to_passwd(text: str, accounts: Iterable[Account]) -> str:
    """The site's passwd text, with root in front and the accounts behind where it has them not."""
    lines = _lines(text)
    names = {line.partition(":")[0] for line in lines}
    if "root" not in names:
        lines.insert(0, _ROOT_ACCOUNT)
        names.add("root")
    for account in accounts:
        if account.name not in names:
            lines.append(_account_line(account))
            names.add(account.name)
    return _text(lines)


def group(user: str, groups: Iterable[tuple[str, int]], max_count: int) -> str:
    """A group file of root's group and the process's own, given as (name, gid).

    The user is listed as a member in the first `max_count` of them.
    """
    return add_to_group("", user, groups, max_count)


def add_to_group(text: str, user: str, groups: Iterable[tuple[str, int]], max_count: int) -> str:
    """The site's group text, in which no member is listed but the user.

    A group counts as the user's if the kernel gives its id to the process, whatever the text
    says; groups of the process that the text lacks are added.
    """
    _check_field(user, "user name", user)
    own = list(groups)
    listed = {gid for _, gid in own[:max_count]}
    lines = []
    present: set[int] = set()
    for name, gid in filter(None, map(_group_fields, _lines(text))):
        lines.append(_group_line(name, gid, user if gid in listed else ""))
        present.add(gid)
    if 0 not in present:
        lines.insert(0, _ROOT_GROUP)
    for name, gid in own:
        if gid != 0 and gid not in present:
            lines.append(_group_line(name, gid, user if gid in listed else ""))
            present.add(gid)
    return _text(lines)


def _lines(text: str) -> list[str]:
    return [line for line in text.split("\n") if line.strip() and not line.startswith("#")]


def _text(lines: list[str]) -> str:
    return "".join(f"{line}\n" for line in lines)


def _account_line(account: Account) -> str:
    for field, what in (
        (account.name, "user name"),
        (account.home, "home directory"),
        (account.shell, "shell"),
    ):
        _check_field(field, what, account.name)
    # The full name is for people only: it may be shown changed, but must not keep anybody out.
    gecos = "".join(" " if character in _BREAKS_FIELD else character for character in account.gecos)
    return f"{account.name}:x:{account.uid}:{account.gid}:{gecos}:{account.home}:{account.shell}"


def _group_fields(line: str) -> tuple[str, int] | None:
    """Name and id of a line of a group file; None where it is no group (`+` for NIS, say)."""
    fields = line.split(":")
    if len(fields) < 3 or not (fields[2].isascii() and fields[2].isdigit()):
        return None
    return fields[0], int(fields[2])


def _group_line(name: str, gid: int, member: str) -> str:
    _check_field(name, "group name", str(gid))
    return f"{name}:x:{gid}:{member}"


def _check_field(text: str, what: str, whose: str) -> None:
    if not _BREAKS_FIELD.isdisjoint(text):
        raise SetupError(
            f"{what} {text!r} (of {whose!r}) cannot be written to the container's /etc: it holds a "
            "colon or a line end; ask the administrator to correct it in the directory service"
        )
