# SPDX-License-Identifier: BSD-3-Clause
"""Who may read an image: its lists, and what a pull makes of them."""

from __future__ import annotations

import dataclasses

from shifter_imagegw.records import ImageRecord


@dataclasses.dataclass(frozen=True, kw_only=True)
class Acl:
    """Numeric ids of who may read an image; both empty: everybody."""

    users: tuple[int, ...] = ()
    groups: tuple[int, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.users or self.groups)

    def __or__(self, other: Acl) -> Acl:
        return Acl(
            users=tuple(dict.fromkeys(self.users + other.users)),
            groups=tuple(dict.fromkeys(self.groups + other.groups)),
        )


def acl_after_pull(
    pull: ImageRecord, *, image_id: str, private: bool, existing: ImageRecord | None
) -> Acl:
    """Who may read an image once `pull` has ended well, and found it to be `image_id`.

    `existing` is the READY image with the same content, or else the one that carries the tag now.
    The worker writes the answer into the .meta file and `Catalog.publish` into the record.

    - Lists are kept as asked by who pulled it first; without lists a pull changes nothing.
    - Whoever else has pulled it proved that the registry lets them read it, and is let in too, but
      shuts nobody out: what everybody may read stays so, unless the registry asks for credentials.
      It is not for them to let in others.
    - A private image without lists is for its puller alone.
    - What somebody else has imported under this name is another image, whose lists end with it.
      So is one of other content where the registry asks for credentials: who was let in to the
      one has not proved anything about the other.
    """
    asked = acl_of(pull)
    puller = Acl(users=() if pull.puller is None else (pull.puller,))
    if existing is None or _has_lists_of_its_own(existing, pull, image_id, private):
        return asked or (puller if private else asked)
    known = acl_of(existing)
    if existing.puller is not None and existing.puller == pull.puller:
        return asked or known or (puller if private else known)
    if not private and not existing.is_restricted:
        return known
    first_puller = Acl(users=() if existing.puller is None else (existing.puller,))
    return (known or first_puller) | puller


def _has_lists_of_its_own(
    existing: ImageRecord, pull: ImageRecord, image_id: str, private: bool
) -> bool:
    """Whether an image has no more than its name, or not even that, in common with a pull's."""
    if existing.image_id == image_id or existing.puller == pull.puller is not None:
        return False
    return private or (existing.is_import and not pull.is_import)


def acl_of(record: ImageRecord) -> Acl:
    """The lists of a record."""
    return Acl(users=record.user_acl or (), groups=record.group_acl or ())


def has_meant_owner(job: ImageRecord, image: ImageRecord) -> bool:
    """Whether an image is still whose it was when `job`, a change of its lists, was asked for.

    It may have gone since, and come again as somebody else's. Who owns it is in the lists, and last
    (`access.asked_by`). Without lists the owner has asked, or an administrator: then nobody may
    have pulled the image since.
    """
    wanted = acl_of(job)
    if wanted:
        return image.puller is None or wanted.users[-1:] == (image.puller,)
    return image.puller == job.puller or (image.last_pull or 0.0) <= (job.since or 0.0)
