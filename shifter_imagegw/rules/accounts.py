# SPDX-License-Identifier: BSD-3-Clause
"""Users and groups as the gateway's host knows them, from files or a directory service."""

from __future__ import annotations

import grp
import os
import pwd


def name_of(uid: int) -> str | None:
    """The name of a user, None where the host knows no such user."""
    try:
        return pwd.getpwuid(uid).pw_name
    except (KeyError, OverflowError):
        return None


def uid_of(name: str) -> int | None:
    try:
        return pwd.getpwnam(name).pw_uid
    except (KeyError, ValueError):  # the latter for text that can be no name, such as one with NUL
        return None


def gid_of(name: str) -> int | None:
    try:
        return grp.getgrnam(name).gr_gid
    except (KeyError, ValueError):
        return None


def groups_of(name: str, gid: int) -> frozenset[int]:
    """The gids of all groups that a user is in, `gid` included."""
    return frozenset(os.getgrouplist(name, gid)) | {gid}


def name_of_group(gid: int) -> str | None:
    try:
        return grp.getgrgid(gid).gr_name
    except (KeyError, OverflowError):
        return None
