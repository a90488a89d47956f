# SPDX-License-Identifier: BSD-3-Clause
"""The gateway's rules: what becomes of a request, whoever brings it."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping
from datetime import timedelta
from typing import Any

from shifter_common.reference import ImageReference
from shifter_imagegw.acl import Acl
from shifter_imagegw.catalog import Catalog
from shifter_imagegw.config import GatewayConfig, SystemConfig
from shifter_imagegw.credentials import Sealer
from shifter_imagegw.errors import (
    BadRequestError,
    CatalogError,
    NotPermittedError,
    PullError,
    SystemNotFoundError,
)
from shifter_imagegw.login_tries import LoginTries
from shifter_imagegw.pulling import location
from shifter_imagegw.records import ImageRecord, Lookup, NewPull
from shifter_imagegw.rules import access
from shifter_imagegw.rules import logins as login_rules
from shifter_imagegw.rules.acls import AclChanges
from shifter_imagegw.rules.auth import Caller
from shifter_imagegw.rules.exports import Exports
from shifter_imagegw.rules.images import Images
from shifter_imagegw.rules.imports import Imports, ImportSource
from shifter_imagegw.rules.inspection import Inspections
from shifter_imagegw.rules.job_control import JobControl
from shifter_imagegw.rules.jobs import Jobs, Nudge, no_nudge
from shifter_imagegw.rules.lookup_log import LookupLog
from shifter_imagegw.rules.queued import QueuedJob, queued_jobs
from shifter_imagegw.rules.registries import Registries
from shifter_imagegw.rules.usage import UsageHistory
from shifter_imagegw.rules.usage_log import UsageLog

log = logging.getLogger(__name__)

# A lookup that would move an image's expiration by less does not write.
EXPIRATION_STEP = timedelta(hours=1)


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
        self._lookup_log = LookupLog(catalog)
        self._usage_log = UsageLog(catalog)
        self._usage = UsageHistory(config, catalog, self._usage_log, clock)
        self.images = Images(catalog)
        self.inspections = Inspections(catalog, self.images)
        self.exports = Exports(config, self.images)
        self._login_tries = LoginTries(catalog, clock)
        self.registries = Registries(config, self._login_tries)
        self._jobs = Jobs(config, catalog, clock, nudge)
        self._imports = Imports(config, catalog, self._jobs)
        self.acls = AclChanges(config, catalog, self.images, self._jobs, clock)
        self.job_control = JobControl(config, catalog, self._jobs, self.acls, self._seal, clock)

    def system(self, name: str) -> SystemConfig:
        try:
            return self._config.systems[name]
        except KeyError:
            raise SystemNotFoundError(
                f"this gateway does not serve a system {name!r}: check 'system' in udiRoot.conf"
            ) from None

    def check_health(self) -> None:
        """Raise `CatalogError` where no request could be answered.

        Anybody may ask this, so it only reads.
        """
        self._catalog.workers()

    # Images that are here

    def lookup(
        self, system: SystemConfig, reference: ImageReference, caller: Caller | None
    ) -> ImageRecord:
        """The image that `reference` means now; being asked for keeps it from expiring."""
        record = self.images.required(system, reference, caller)
        self._keep(record)
        now = self._clock()
        uid = None
        if self._config.metrics and caller is not None:
            uid = caller.uid
            self._lookup_log.note(caller, record, reference.with_default_tag().tag, now)
        self._usage_log.note(record, reference, uid, now)
        return record

    def list_images(self, system: SystemConfig, caller: Caller | None) -> list[ImageRecord]:
        """Every READY image that the caller may use."""
        records = self._catalog.list_ready(system.name)
        return [record for record in records if access.may_read(record, caller, system)]

    def list_lookups(self, system: SystemConfig, caller: Caller, limit: int) -> list[Lookup]:
        """The last lookups on a system, oldest first; none where the site does not collect them."""
        _require_admin(system, caller, "see who looked up what")
        if not self._config.metrics or limit == 0:
            return []
        self._lookup_log.flush()
        return self._catalog.list_lookups(system.name, limit)

    def stats(self, system: SystemConfig, caller: Caller | None, days: int) -> dict[str, Any]:
        """Who used what in the last days, as far as it is the caller's business."""
        return self._usage.stats(system, caller, days)

    def list_users(self, system: SystemConfig, caller: Caller) -> list[dict[str, Any]]:
        """What each user has on a system."""
        _require_admin(system, caller, "see what its users have")
        return self._usage.users(system)

    # Images that are to go

    def expire(self, system: SystemConfig, reference: ImageReference, caller: Caller) -> None:
        """Have an image removed from its system, with all of its tags."""
        record = self.images.required(system, reference, caller)
        if not access.may_expire(record, caller, system):
            raise NotPermittedError(
                f"{reference} may be removed only by who pulled it or an administrator of "
                f"{system.name}"
            )
        self._jobs.expire([record])
        log.info("expire asked system=%s image=%s uid=%d", system.name, reference, caller.uid)

    def expire_unused(self, system: SystemConfig, caller: Caller) -> list[str]:
        """Have every image removed whose expiration has passed; their ids.

        Pulls and imports on their way stay as they are, however long they take: they have leases.
        """
        _require_admin(system, caller, "have unused images removed")
        now = self._clock()
        ended = self._catalog.purge_ended(
            system.name, now - self._config.pull_update_timeout.total_seconds()
        )
        records = self._catalog.list_expired(system.name, now)
        self._jobs.expire(records, expired_at=now)
        log.info(
            "autoexpire asked system=%s images=%d forgotten=%d uid=%d",
            system.name,
            len(records),
            ended,
            caller.uid,
        )
        return [record.image_id for record in records if record.image_id is not None]

    # Images that are to come

    def list_queue(self, system: SystemConfig, caller: Caller) -> list[QueuedJob]:
        """Every job that has not ended well yet, oldest first.

        Those for named users and groups are shown to them alone.
        """
        self._jobs.forget_old_failures()
        return queued_jobs(self._catalog.list_queue(system.name), system, caller)

    def pull(
        self, system: SystemConfig, reference: ImageReference, caller: Caller, asked: Acl
    ) -> ImageRecord:
        """Have an image fetched unless it is here and fresh; how far that is, or the image.

        Clients repeat the request until the answer is READY or FAILURE.
        """
        reference = reference.with_default_tag()
        # Looked for first: a pull that ends between the two looks is seen as READY in the second.
        under_way = self._jobs.find(system, reference, caller)
        ready = self._catalog.find_ready(system.name, reference.image_type, reference.tag)
        if reference.image_type != "docker":
            return self._imported(system, reference, caller, under_way)
        puller = caller.uid
        if asked and ready is not None and access.may_change_acl(ready, caller, system):
            puller = ready.puller or caller.uid  # an administrator acts for who pulled it
        if asked:
            # Only the user: the caller's first group may be one that everybody is in.
            asked = access.asked_by(puller, asked)
        if ready is not None and not self._needs_pull(ready, reference, system, caller, asked):
            return ready
        logins = self._usable_logins(reference, caller)
        if under_way is not None:
            # What others met says nothing about who brings logins of their own, and what they met
            # with theirs is not for everybody to know.
            says_nothing = bool(logins) or not access.may_read(under_way, caller, system)
            is_others = says_nothing and under_way.puller != puller
            if self._jobs.is_told(under_way, caller, is_others=is_others):
                return access.shown_to(under_way, caller, system)
        is_here = ready is not None and access.may_read(ready, caller, system)
        self._jobs.quotas.require_room(system, caller, is_new=not is_here)
        new = NewPull(
            system=system.name,
            image_type=reference.image_type,
            pull_tag=reference.tag,
            format=self._config.default_format,
            user_acl=asked.users,
            group_acl=asked.groups,
            puller=puller,
            sealed_credentials=self._seal(reference, caller),
        )
        return self._jobs.start(new, caller, system)

    def import_image(
        self,
        system: SystemConfig,
        reference: ImageReference,
        caller: Caller,
        source: ImportSource,
        asked: Acl,
    ) -> ImageRecord:
        return self._imports.ask(system, reference, caller, source, asked)

    def _imported(
        self,
        system: SystemConfig,
        reference: ImageReference,
        caller: Caller,
        under_way: ImageRecord | None,
    ) -> ImageRecord:
        """What no registry has: a client that has asked for an import may follow it by pulling."""
        if (
            under_way is not None
            and access.may_read(under_way, caller, system)
            and (under_way.is_in_flight or access.is_owner(under_way, caller))
            and self._jobs.is_told(under_way, caller)
        ):
            return access.shown_to(under_way, caller, system)
        ready = self.images.readable(system, reference, caller)
        if ready is None:
            raise BadRequestError(
                f"{reference} comes from no registry: only images of type docker do"
            )
        return ready

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

    def _needs_pull(
        self,
        ready: ImageRecord,
        reference: ImageReference,
        system: SystemConfig,
        caller: Caller,
        asked: Acl,
    ) -> bool:
        if not access.may_read(ready, caller, system):
            # Nothing is said of it: a pull that succeeds proves that the registry lets the caller
            # read it, and an import of somebody else's only has the same name.
            return True
        may_change_acl = access.may_change_acl(ready, caller, system)
        # Else who sets lists, and others who pull the image at the same time, undo each other's
        # pulls for ever: none of them finds what they ask for.
        is_answer = self._jobs.is_recent(ready) and access.has_acl_and_pullers(ready, asked)
        if asked and not is_answer and not access.has_acl(ready, asked, exactly=may_change_acl):
            if not may_change_acl:
                raise NotPermittedError(
                    f"{reference} is on {system.name} already, and who may use it is set by who "
                    "pulled it first or by an administrator: pull it without lists of users and "
                    "groups"
                )
            return True
        return not self._jobs.is_fresh(ready)

    def _seal(self, reference: ImageReference, caller: Caller) -> str | None:
        """The caller's logins, as a pull of `reference` is to find them."""
        found = self._usable_logins(reference, caller)
        if not found:
            return None
        self._login_tries.require_turn(caller.uid)
        return self._sealer.seal(found)

    def _usable_logins(self, reference: ImageReference, caller: Caller) -> Mapping[str, str]:
        """Those of the caller's logins that this pull can use."""
        if not caller.credentials:
            return {}
        urls = {name: place.url for name, place in self._config.locations.items()}
        try:
            source = location.choose(reference.tag, urls, self._config.default_location)
        except PullError:
            return {}  # the worker meets the same, and its words reach the user
        return login_rules.usable(caller.credentials, source.location, urls[source.location])


def _require_admin(system: SystemConfig, caller: Caller, what: str) -> None:
    if not access.is_admin(caller, system):
        raise NotPermittedError(f"only administrators of {system.name} may {what}")
