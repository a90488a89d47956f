# SPDX-License-Identifier: BSD-3-Clause
"""The gateway's rules: what becomes of a request, whoever brings it."""

from __future__ import annotations

import dataclasses
import logging
import time
from collections.abc import Callable
from datetime import timedelta

from shifter_common.reference import ImageReference
from shifter_imagegw import access
from shifter_imagegw.auth import Caller
from shifter_imagegw.catalog import Catalog
from shifter_imagegw.config import GatewayConfig, SystemConfig
from shifter_imagegw.credentials import Sealer
from shifter_imagegw.errors import (
    BadRequestError,
    CatalogError,
    ImageNotFoundError,
    NotPermittedError,
    SystemNotFoundError,
)
from shifter_imagegw.records import Acl, ImageRecord, NewPull, PullState

log = logging.getLogger(__name__)

# A client asks again every half second, so an image that was pulled this recently is what it
# waits for, however short the site's PullUpdateTimeout is.
RECENT = timedelta(seconds=10)

# For this long a failure is told, once, to everybody who asks for the image: clients that wait
# for a pull only learn its end by asking for the pull again. Who has been told and asks once more
# wants another try.
FAILURE_IS_NEWS = timedelta(seconds=30)

# A lookup that would move an image's expiration by less does not write.
EXPIRATION_STEP = timedelta(hours=1)


Nudge = Callable[[str], None]  # tells the workers of a system that there is a job


def no_nudge(system: str) -> None:
    """For workers that look into the catalog often enough."""


class Service:
    """Answers requests from the catalog, and puts jobs for the workers into it."""

    def __init__(
        self,
        config: GatewayConfig,
        catalog: Catalog,
        sealer: Sealer,
        clock: Callable[[], float] = time.time,
        nudge: Nudge = no_nudge,
    ) -> None:
        self._config = config
        self._catalog = catalog
        self._sealer = sealer
        self._clock = clock
        self._nudge = nudge

    def system(self, name: str) -> SystemConfig:
        try:
            return self._config.systems[name]
        except KeyError:
            raise SystemNotFoundError(
                f"this gateway does not serve a system {name!r}: check 'system' in udiRoot.conf"
            ) from None

    def check_health(self) -> None:
        """Raise `CatalogError` where no request could be answered."""
        self._catalog.workers()

    def lookup(
        self, system: SystemConfig, reference: ImageReference, caller: Caller | None
    ) -> ImageRecord:
        """The image that `reference` means now; being asked for keeps it from expiring."""
        reference = reference.with_default_tag()
        record = self._readable(system, reference, caller)
        if record is None:
            raise self._not_found(system, reference)
        self._keep(record)
        return record

    def list_images(self, system: SystemConfig, caller: Caller | None) -> list[ImageRecord]:
        """Every READY image that the caller may use."""
        records = self._catalog.list_ready(system.name)
        return [record for record in records if access.may_read(record, caller, system)]

    def list_queue(self, system: SystemConfig, caller: Caller) -> list[ImageRecord]:
        """Every pull and removal that has not ended well yet, oldest first.

        Those for named users and groups are shown to them alone.
        """
        self._forget_old_failures()
        records = self._catalog.list_queue(system.name)
        return [record for record in records if access.may_read(record, caller, system)]

    def pull(
        self, system: SystemConfig, reference: ImageReference, caller: Caller, asked: Acl
    ) -> ImageRecord:
        """Have an image fetched unless it is here and fresh; how far that is, or the image.

        Clients repeat the request until the answer is READY or FAILURE.
        """
        reference = reference.with_default_tag()
        if reference.image_type != "docker":
            return self._not_from_registry(system, reference, caller)
        self._forget_old_failures()
        # Looked for first: a pull that ends between the two looks is seen as READY in the second.
        under_way = self._catalog.find_pull(system.name, reference.image_type, reference.tag)
        ready = self._catalog.find_ready(system.name, reference.image_type, reference.tag)
        puller = caller.uid
        if asked and ready is not None and access.may_change_acl(ready, caller, system):
            puller = ready.puller or caller.uid  # an administrator acts for who pulled it
        if asked:
            # Only the user: the caller's first group may be one that everybody is in.
            asked = asked | Acl(users=(puller,))
        if ready is not None and not self._needs_pull(ready, reference, system, caller, asked):
            return ready
        if under_way is not None and (under_way.is_in_flight or self._is_news(under_way, caller)):
            return under_way
        return self._start(
            NewPull(
                system=system.name,
                image_type=reference.image_type,
                pull_tag=reference.tag,
                format=self._config.default_format,
                user_acl=asked.users,
                group_acl=asked.groups,
                puller=puller,
                sealed_credentials=(
                    self._sealer.seal(caller.credentials) if caller.credentials else None
                ),
            ),
            caller,
        )

    def expire(self, system: SystemConfig, reference: ImageReference, caller: Caller) -> None:
        """Have an image removed from its system, with all of its tags."""
        if reference.image_type == "docker":
            reference = reference.with_default_tag()
        record = self._readable(system, reference, caller)
        if record is None:
            raise self._not_found(system, reference)
        if not access.may_expire(record, caller, system):
            raise NotPermittedError(
                f"{reference} may be expired only by who pulled it or an administrator of "
                f"{system.name}"
            )
        self._catalog.add_expire(record)
        self._nudge(system.name)
        log.info("expire asked system=%s image=%s uid=%d", system.name, reference, caller.uid)

    def _readable(
        self, system: SystemConfig, reference: ImageReference, caller: Caller | None
    ) -> ImageRecord | None:
        record = self._catalog.find_ready(system.name, reference.image_type, reference.tag)
        if record is None or not access.may_read(record, caller, system):
            return None
        return record

    def _not_found(self, system: SystemConfig, reference: ImageReference) -> ImageNotFoundError:
        pull = self._catalog.find_pull(system.name, reference.image_type, reference.tag)
        if pull is not None and pull.is_in_flight:
            return ImageNotFoundError(
                f"image not found: {reference} is still being pulled to {system.name} "
                f"({pull.state.value})"
            )
        return ImageNotFoundError(
            f"image not found: {reference} is not on {system.name}, or is not for you"
        )

    def _keep(self, record: ImageRecord) -> None:
        expiration = self._clock() + self._config.image_expiration.total_seconds()
        step = EXPIRATION_STEP.total_seconds()
        if record.expiration is not None and expiration - record.expiration < step:
            return
        try:
            self._catalog.arm_expiration(record, expiration)
        except CatalogError as error:
            # A catalog that can only be read still answers; the next lookup tries again.
            log.warning("expiration not moved id=%s reason=%s", record.image_id, error)

    def _not_from_registry(
        self, system: SystemConfig, reference: ImageReference, caller: Caller
    ) -> ImageRecord:
        record = self._readable(system, reference, caller)
        if record is None:
            raise BadRequestError(
                f"cannot pull {reference}: only images of type docker come from a registry"
            )
        return record

    def _needs_pull(
        self,
        ready: ImageRecord,
        reference: ImageReference,
        system: SystemConfig,
        caller: Caller,
        asked: Acl,
    ) -> bool:
        may_change_acl = access.may_change_acl(ready, caller, system)
        if asked and not _has_acl(ready, asked, exactly=may_change_acl):
            if not may_change_acl:
                raise NotPermittedError(
                    f"{reference} is on {system.name} already, and who may use it is set by who "
                    "pulled it first or by an administrator: pull it without lists of users and "
                    "groups"
                )
            return True
        if not access.may_read(ready, caller, system):
            return True  # a pull that succeeds proves that the registry lets the caller read it
        age = self._clock() - (ready.last_pull or 0.0)
        return age > max(self._config.pull_update_timeout, RECENT).total_seconds()

    def _is_news(self, pull: ImageRecord, caller: Caller) -> bool:
        """Whether a pull has failed and the caller does not know yet."""
        return (
            pull.state is PullState.FAILURE
            and pull.image_id is None  # else it was a removal that failed
            # What others met says nothing about who brings logins of their own.
            and (pull.puller == caller.uid or not caller.credentials)
            and self._clock() - (pull.last_pull or 0.0) <= FAILURE_IS_NEWS.total_seconds()
            and self._catalog.tell_failure(pull, caller.uid)
        )

    def _start(self, new: NewPull, caller: Caller) -> ImageRecord:
        now = self._clock()
        record = self._catalog.add_pull(new, now)
        if record.last_pull != now:
            return record  # somebody else's, a moment earlier
        self._nudge(new.system)
        log.info(
            "pull asked system=%s image=%s:%s uid=%d",
            new.system,
            new.image_type,
            new.pull_tag,
            caller.uid,
        )
        # What the original answers to whoever starts a pull.
        return dataclasses.replace(record, state=PullState.INIT, last_pull=None)

    def _forget_old_failures(self) -> None:
        oldest = max(self._config.pull_update_timeout, FAILURE_IS_NEWS)
        self._catalog.purge_failures(self._clock() - oldest.total_seconds())


def _has_acl(record: ImageRecord, asked: Acl, *, exactly: bool) -> bool:
    users, groups = set(record.user_acl or ()), set(record.group_acl or ())
    if exactly:
        return users == set(asked.users) and groups == set(asked.groups)
    return (
        record.is_restricted and users.issuperset(asked.users) and groups.issuperset(asked.groups)
    )
