# SPDX-License-Identifier: BSD-3-Clause
"""A change of who may use an image that is on its system: in its record, and in its .meta file.

The record says who finds the image by name, the .meta whom the runtime lets in, by whatever name.
No two files of two worlds change at once, so the .meta is never wider than the record: what both
the old lists and the new ones allow comes first, then the record changes, then the .meta gets all
of the new lists. Wherever this is cut off, nobody can run the image who could not before and is
not to; and whoever takes the job over does it all again, up to the end of it.
"""

from __future__ import annotations

import os
import time
from collections.abc import Mapping

from shifter_common.errors import InvalidMetadataError
from shifter_common.metadata import ImageMetadata
from shifter_imagegw import formats
from shifter_imagegw.acl import Acl, acl_of, has_meant_owner
from shifter_imagegw.catalog import Catalog
from shifter_imagegw.delivery import Delivery
from shifter_imagegw.errors import PullError
from shifter_imagegw.pulling.lease import Lease
from shifter_imagegw.pulling.pull import NO_ACL_IN_METADATA
from shifter_imagegw.records import ImageRecord, PullState

_NOBODY = 0xFFFFFFFE  # the highest uid that the kernel knows: systems give it to no user


def run(
    lease: Lease,
    *,
    catalog: Catalog,
    delivery: Delivery,
    environment: Mapping[str, str] = os.environ,
) -> None:
    """Give the image that the job names the lists that the job has."""
    job = lease.claim.record
    image_id = job.acl_image or ""
    # Nobody else changes the image's files, or its lists, before the job has ended.
    lease.hold(image_id)
    delivery.shut_out_others(image_id, lease.claim.worker)
    lease.enter(PullState.TRANSFER, "Changing who may use the image")
    image = _image(catalog, job)
    before, wanted = _lists_of(image), acl_of(job)
    _require_meant(job, image, wanted)
    safe = common(before, wanted, or_else=_NOBODY if job.puller is None else job.puller)
    metadata = _Metadata(lease, delivery, image_id, is_used=not environment.get(NO_ACL_IN_METADATA))
    if safe != before or safe == wanted:
        metadata.write(safe)
    lease.insist(lambda: catalog.set_acl(lease.claim))
    if safe != wanted:
        metadata.write(wanted)
    lease.insist(lambda: catalog.finish_acl(lease.claim, time.time()))


def common(before: Acl, wanted: Acl, *, or_else: int) -> Acl:
    """Lists of those who are in `before` and in `wanted`; empty lists are of everybody.

    Where they have nobody in common, the lists are of the user `or_else` alone.
    """
    if not before or not wanted:
        return before or wanted
    both = Acl(
        users=tuple(uid for uid in wanted.users if uid in before.users),
        groups=tuple(gid for gid in wanted.groups if gid in before.groups),
    )
    # Not as one writes lists that are there already: in another order they are the same.
    if (set(both.users), set(both.groups)) == (set(before.users), set(before.groups)):
        return before
    return both or Acl(users=(or_else,))


class _Metadata:
    """The .meta of the image: all that it says stays, but for the lists."""

    def __init__(self, lease: Lease, delivery: Delivery, image_id: str, *, is_used: bool) -> None:
        self._lease = lease
        self._delivery = delivery
        self._image_id = image_id
        self._is_used = is_used

    def write(self, acl: Acl) -> None:
        if not self._is_used:
            return
        text = self._delivery.read_metadata(self._image_id)
        try:
            metadata = ImageMetadata.parse(text)
        except InvalidMetadataError as error:
            raise PullError(
                f"cannot change who may use the image: its .meta file is damaged ({error}): have "
                "the image removed, and pull it again"
            ) from error
        metadata.user_acl = list(acl.users) or None
        metadata.group_acl = list(acl.groups) or None
        self._delivery.deliver_metadata(
            self._image_id,
            self._lease.claim.worker,
            metadata.to_text(),
            confirm=self._lease.confirm,
        )


def _image(catalog: Catalog, job: ImageRecord) -> ImageRecord:
    found = (
        catalog.find_ready_id(job.system, job.acl_image or "", known) for known in formats.FORMATS
    )
    for record in found:
        if record is not None:
            return record
    raise PullError(
        f"cannot change who may use {job.image_type}:{job.pull_tag}: it is not on {job.system} any "
        "more"
    )


def _require_meant(job: ImageRecord, image: ImageRecord, wanted: Acl) -> None:
    """Raise where the image has gone since the change was asked for, and come again.

    What was allowed for one owner's image says nothing of another's. A private one is opened to
    nobody who is not named.
    """
    name = f"{job.image_type}:{job.pull_tag}"
    if image.private and not wanted:
        raise PullError(f"cannot change who may use {name}: it is private in its registry by now")
    if has_meant_owner(job, image):
        return
    if wanted:
        raise PullError(f"cannot change who may use {name}: it has another owner by now")
    raise PullError(
        f"cannot open {name} to everybody: it has been pulled again since that was asked for, and "
        "may be another user's by now: ask for it once more"
    )


def _lists_of(record: ImageRecord) -> Acl:
    """Who may use an image now: a private one without lists, whoever pulled it."""
    if record.private and not acl_of(record):
        return Acl(users=(_NOBODY if record.puller is None else record.puller,))
    return acl_of(record)
