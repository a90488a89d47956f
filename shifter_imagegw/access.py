# SPDX-License-Identifier: BSD-3-Clause
"""Who may do what with an image."""

from __future__ import annotations

from shifter_imagegw.auth import Caller
from shifter_imagegw.config import SystemConfig
from shifter_imagegw.records import ImageRecord


def is_admin(caller: Caller, system: SystemConfig) -> bool:
    return caller.name is not None and caller.name in system.admins


def may_read(record: ImageRecord, caller: Caller | None, system: SystemConfig) -> bool:
    """Whether `caller` (None: anonymous) may see and use an image.

    A private image without lists is for who pulled it. What is left out here the runtime cannot
    find by name; that the file itself is not opened either rests on the lists in its .meta.
    """
    if not record.is_restricted:
        return True
    if caller is None:
        return False
    if caller.uid == record.puller or caller.uid in (record.user_acl or ()):
        return True
    if record.group_acl and not caller.groups.isdisjoint(record.group_acl):
        return True
    return is_admin(caller, system)


def is_owner(record: ImageRecord, caller: Caller) -> bool:
    """Whether `caller` is the one who pulled the image first."""
    return record.puller is not None and record.puller == caller.uid


def may_expire(record: ImageRecord, caller: Caller, system: SystemConfig) -> bool:
    return is_owner(record, caller) or is_admin(caller, system)


def may_change_acl(record: ImageRecord, caller: Caller, system: SystemConfig) -> bool:
    """Whether a pull by `caller` may set other lists.

    Where nobody knows who pulled an image (it came from an older gateway) nobody may: an
    administrator can expire it and have it pulled with the lists it should have.
    """
    return record.puller is not None and may_expire(record, caller, system)
