# SPDX-License-Identifier: BSD-3-Clause
"""Who may do what with an image."""

from __future__ import annotations

import dataclasses
from collections.abc import Collection

from shifter_imagegw.acl import Acl
from shifter_imagegw.config import GatewayConfig, SystemConfig
from shifter_imagegw.records import ImageRecord, JobKind, PullState
from shifter_imagegw.rules.auth import Caller


def is_admin(caller: Caller, system: SystemConfig) -> bool:
    return _is_among(caller, system.admins)


def may_import(caller: Caller, config: GatewayConfig) -> bool:
    return config.anyone_may_import or _is_among(caller, config.import_users)


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


def may_see_job(record: ImageRecord, caller: Caller | None, system: SystemConfig) -> bool:
    """Whether `caller` may know of a job: of a change of lists, owner and administrators may."""
    if record.kind is JobKind.ACL:
        return caller is not None and may_expire(record, caller, system)
    return may_read(record, caller, system)


def shown_to(record: ImageRecord, caller: Caller, system: SystemConfig) -> ImageRecord:
    """What `caller` may know of a job that somebody else has asked for.

    Whoever asks for the same image shares the pull, and so sees how far it is, but not for whom
    else it is, nor of which layers. What is said of an import may name files of its importer.
    """
    if not may_see_job(record, caller, system) and record.kind is JobKind.ACL:
        # Whoever pulls an image of this name waits; that there is one is none of their business.
        return dataclasses.replace(
            record, acl_image=None, state=PullState.PENDING, status_message=None,
            user_acl=(), group_acl=(), private=None, puller=None,
        )  # fmt: skip
    if record.is_import and not may_expire(record, caller, system):
        record = dataclasses.replace(record, status_message=None)
    if may_read(record, caller, system):
        return record
    return dataclasses.replace(
        record, user_acl=(), group_acl=(), private=None, puller=None, layers=None
    )


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


def has_acl(record: ImageRecord, asked: Acl, *, exactly: bool) -> bool:
    """Whether a record has these lists; if not `exactly`, it may let in others too."""
    users, groups = set(record.user_acl or ()), set(record.group_acl or ())
    if exactly:
        return users == set(asked.users) and groups == set(asked.groups)
    return (
        record.is_restricted and users.issuperset(asked.users) and groups.issuperset(asked.groups)
    )


def asked_by(puller: int, lists: Acl) -> Acl:
    """The lists that `puller` asks for: they are in them themselves, and last (see below)."""
    others = tuple(uid for uid in lists.users if uid != puller)
    return Acl(users=(*others, puller), groups=lists.groups)


def has_acl_and_pullers(record: ImageRecord, asked: Acl) -> bool:
    """Whether a record has the lists that its puller asked for, and else only who pulled it since.

    Those are let in behind them (`acl.acl_after_pull`). As a puller's own lists end with the
    puller, no shorter ones of theirs are taken for the beginning of these.
    """
    users, groups = record.user_acl or (), record.group_acl or ()
    own = users[: len(asked.users)]
    return set(own) == set(asked.users) and set(groups) == set(asked.groups)


def _is_among(caller: Caller, names: Collection[str]) -> bool:
    """Whether a list of the configuration means the caller; a number in it is a uid."""
    if str(caller.uid) in names:
        return True
    return caller.name is not None and not caller.name.isdecimal() and caller.name in names
