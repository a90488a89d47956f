# SPDX-License-Identifier: BSD-3-Clause
"""The user for whom root prepares a container, though that user did not call."""

from __future__ import annotations

from shifter_runtime import identity, node
from shifter_runtime.errors import NotPermittedError

_MOST_GROUPS = 512


def find(
    name: str | None, uid: int | None, gid: int | None, names: node.Names
) -> identity.Identity:
    """Whom a name, a user id, or both mean; `gid` is the group to start with, if not his own."""
    account = names.user(name) if name is not None else names.user(uid if uid is not None else -1)
    shown = repr(name) if name is not None else f"user id {uid}"
    if account is None:
        raise NotPermittedError(f"{shown} is unknown on this node: {names.source} does not know it")
    if uid is not None and account.uid != uid:
        raise NotPermittedError(f"--user {name!r} is user id {account.uid} on this node, not {uid}")
    own = gid if gid is not None else account.gid
    if account.uid == 0 or own == 0:
        raise NotPermittedError("no container is prepared for root: name the user who runs the job")
    groups = [group for group in names.groups_of(account, account.gid) if group != 0]
    if own not in groups:
        raise NotPermittedError(f"user {account.name!r} is not in group {own} on this node")
    if len(groups) > _MOST_GROUPS:
        raise NotPermittedError(
            f"user {account.name!r} is in {len(groups)} groups, at most {_MOST_GROUPS} will do"
        )
    return identity.of_account(account, own, groups, names)
