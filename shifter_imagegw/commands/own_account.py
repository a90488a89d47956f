# SPDX-License-Identifier: BSD-3-Clause
"""The gateway's own account, for who looks after it as root."""

from __future__ import annotations

import os
from pathlib import Path

from shifter_imagegw.config import GatewayConfig
from shifter_imagegw.errors import ConfigError
from shifter_imagegw.rules import accounts

_PRIVATE = 0o077


def become(config: GatewayConfig) -> None:
    """As root, be who owns CacheDirectory: the gateway could not use files that were root's.

    Before the first start, that is who owns the directory it will be made in. What may be read
    and written is then seen as the gateway sees it, too.
    """
    os.umask(_PRIVATE)
    if os.geteuid() != 0:
        return
    owner = _nearest(config.cache_directory).stat()
    if owner.st_uid == 0:
        return
    name = accounts.name_of(owner.st_uid)
    groups = accounts.groups_of(name, owner.st_gid) if name else {owner.st_gid}
    os.setgroups(sorted(groups))
    os.setresgid(owner.st_gid, owner.st_gid, owner.st_gid)
    os.setresuid(owner.st_uid, owner.st_uid, owner.st_uid)


def require(config: GatewayConfig) -> None:
    """Become it, or complain: what one SQLite catalog holds is for its own account alone."""
    become(config)
    if config.mongodb is None and (account := elsewhere(config)) is not None:
        raise ConfigError(
            f"only root and the gateway's account ({account}) may do this: run it by sudo"
        )


def elsewhere(config: GatewayConfig) -> str | None:
    """The gateway's account, where this process is another's; None where it is the gateway's."""
    directory = config.cache_directory
    if not directory.exists() or os.access(directory, os.W_OK):
        return None
    owner = directory.stat().st_uid
    return None if owner == os.geteuid() else accounts.name_of(owner) or f"uid {owner}"


def _nearest(path: Path) -> Path:
    """`path`, or the directory on the way to it that is there."""
    return next(place for place in (path, *path.parents) if place.exists())
