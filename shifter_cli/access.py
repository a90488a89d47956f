# SPDX-License-Identifier: BSD-3-Clause
"""Who may use a private image, as typed: names or numbers, joined by commas."""

from __future__ import annotations

import dataclasses
import grp
import pwd
from collections.abc import Callable, Iterable

from shifter_cli.errors import AccessListError

_LARGEST_ID = 2**32 - 2  # the kernel keeps -1 for "no change"


@dataclasses.dataclass(frozen=True)
class AccessLists:
    """Numeric ids, in the order typed."""

    uids: tuple[int, ...] = ()
    gids: tuple[int, ...] = ()

    @classmethod
    def parse(cls, users: Iterable[str], groups: Iterable[str]) -> AccessLists:
        """Look names up on this machine.

        An unknown name is refused: without it the list could become empty, and an image without
        a list may be open to more people than its puller meant.
        """
        return cls(
            uids=_ids("user", users, lambda name: pwd.getpwnam(name).pw_uid),
            gids=_ids("group", groups, lambda name: grp.getgrnam(name).gr_gid),
        )


def _ids(kind: str, lists: Iterable[str], find: Callable[[str], int]) -> tuple[int, ...]:
    ids = []
    for text in lists:
        names = [name.strip() for name in text.split(",") if name.strip()]
        if not names:
            raise AccessListError(f"the list of {kind}s {text!r} names nobody")
        ids += [_id(kind, name, find) for name in names]
    return tuple(dict.fromkeys(ids))


def _id(kind: str, name: str, find: Callable[[str], int]) -> int:
    if name.isascii() and name.isdigit():
        number = int(name)
    else:
        try:
            number = find(name)
        except (KeyError, ValueError) as error:  # ValueError: a null byte
            raise AccessListError(
                f"no {kind} {name!r} on this machine: check the name, or give its number"
            ) from error
    if not 0 < number <= _LARGEST_ID:
        raise AccessListError(f"{kind} {name!r} cannot stand in an access list")
    return number
