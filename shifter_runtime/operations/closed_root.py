# SPDX-License-Identifier: BSD-3-Clause
"""A container that is shown on the node, to its user and to root alone."""

from __future__ import annotations

import errno
import os

from shifter_runtime.errors import SetupError
from shifter_runtime.identity import Identity
from shifter_runtime.udi import Udi

_ATTRIBUTE = "system.posix_acl_access"
_VERSION = 2
_OWNER, _USER, _GROUP, _MASK, _OTHERS = 0x01, 0x02, 0x04, 0x10, 0x20  # what an entry is about
_READ_AND_ENTER, _ALL = 5, 7
_NOBODY_IN_PARTICULAR = 0xFFFFFFFF


class CloseRoot:
    """Keep other users of the node out of the container's root directory, by an access list.

    Its image may be private, and its volumes may come from below a directory that only the user
    may enter. Inside, nobody but the user is there to notice. Where the kernel cannot, and it is
    not required, the container is not shown.
    """

    def __init__(self, user: Identity, *, required: bool) -> None:
        self.user = user
        self.required = required
        self.is_closed = False

    def __str__(self) -> str:
        return f"let nobody but {self.user.name} and root into /"

    def execute(self, udi: Udi) -> None:
        try:
            os.setxattr(udi.place, _ATTRIBUTE, access_list(self.user.uid))
        except OSError as error:
            if error.errno != errno.EOPNOTSUPP:
                raise
            if not self.required:
                return
            raise SetupError(
                "this node's kernel has no access lists in memory (CONFIG_TMPFS_POSIX_ACL), by "
                "which a container of the whole node is kept from other users: use --job"
            ) from error
        self.is_closed = True


def access_list(uid: int) -> bytes:
    """What lets root do everything and this user read and enter; as in posix_acl_xattr.h."""
    entries = (
        (_OWNER, _ALL, _NOBODY_IN_PARTICULAR),
        (_USER, _READ_AND_ENTER, uid),
        (_GROUP, 0, _NOBODY_IN_PARTICULAR),
        (_MASK, _READ_AND_ENTER, _NOBODY_IN_PARTICULAR),
        (_OTHERS, 0, _NOBODY_IN_PARTICULAR),
    )
    return _VERSION.to_bytes(4, "little") + b"".join(
        kind.to_bytes(2, "little") + rights.to_bytes(2, "little") + who.to_bytes(4, "little")
        for kind, rights, who in entries
    )
