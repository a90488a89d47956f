# SPDX-License-Identifier: BSD-3-Clause
"""Who may end a job, or have it done anew."""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Callable

from shifter_common.reference import ImageReference
from shifter_imagegw.catalog import Catalog
from shifter_imagegw.config import GatewayConfig, SystemConfig
from shifter_imagegw.errors import JobEndedError, NoSuchJobError, NotPermittedError
from shifter_imagegw.records import ImageRecord, JobKind, PullState
from shifter_imagegw.rules import access
from shifter_imagegw.rules.acls import AclChanges
from shifter_imagegw.rules.auth import Caller
from shifter_imagegw.rules.jobs import Jobs

log = logging.getLogger(__name__)

Seal = Callable[[ImageReference, Caller], str | None]

_NOUNS = {
    JobKind.PULL: "the pull of {}",
    JobKind.IMPORT: "the import of {}",
    JobKind.REMOVAL: "the removal of {}",
    JobKind.ACL: "the change of who may use {}",
}


class JobControl:
    """The rules of what users do to jobs in the queue: their own, or as administrators."""

    def __init__(
        self,
        config: GatewayConfig,
        catalog: Catalog,
        jobs: Jobs,
        acls: AclChanges,
        seal: Seal,
        clock: Callable[[], float],
    ) -> None:
        self._config = config
        self._catalog = catalog
        self._jobs = jobs
        self._acls = acls
        self._seal = seal
        self._clock = clock

    def cancel(
        self, system: SystemConfig, reference: ImageReference, caller: Caller
    ) -> ImageRecord:
        """End a job that waits or runs; all who wait for it learn who did so."""
        job = self._required(system, reference, caller, "cancel")
        noun = _NOUNS[job.kind].format(reference)
        if job.state is PullState.FAILURE:
            raise JobEndedError(f"{noun} has failed already: {job.status_message}")
        reason = f"cancelled by {caller.name or caller.uid}"
        if not self._catalog.cancel(job, reason, self._clock()):
            raise JobEndedError(f"{noun} cannot be cancelled any more: it is nearly done")
        log.info("cancelled job=%s system=%s image=%s uid=%d",
                 job.kind.value, system.name, reference, caller.uid)  # fmt: skip
        if job.kind is JobKind.REMOVAL:
            return dataclasses.replace(job, state=PullState.READY, status_message="Image ready")
        return dataclasses.replace(job, state=PullState.FAILURE, status_message=reason)

    def requeue(
        self, system: SystemConfig, reference: ImageReference, caller: Caller
    ) -> ImageRecord:
        """Have a job done anew that has failed, or that is stuck."""
        job = self._required(system, reference, caller, "requeue")
        noun = _NOUNS[job.kind].format(reference)
        self._require_still_permitted(system, job, caller, noun)
        sealed = None
        if job.state is PullState.FAILURE:
            self._jobs.quotas.require_turn(system, caller)
            self._require_room(system, job, caller)
            # Whoever brings logins shows them for themselves: the image would be another user's.
            if job.kind is JobKind.PULL and access.is_owner(job, caller):
                sealed = self._seal(ImageReference(job.image_type, job.pull_tag), caller)
        if not self._catalog.requeue(job, sealed, self._clock()):
            raise JobEndedError(f"{noun} cannot be repeated: another job for it is under way")
        self._jobs.nudge(system)
        log.info("requeued job=%s system=%s image=%s uid=%d",
                 job.kind.value, system.name, reference, caller.uid)  # fmt: skip
        if job.state is not PullState.FAILURE:
            return job
        is_removal = job.kind is JobKind.REMOVAL
        state = PullState.EXPIRING if is_removal else PullState.PENDING
        return dataclasses.replace(job, state=state, status_message=None)

    def _require_room(self, system: SystemConfig, job: ImageRecord, caller: Caller) -> None:
        """As for a new pull or import: other images may have come since."""
        if job.kind in (JobKind.PULL, JobKind.IMPORT):
            ready = self._catalog.find_ready(system.name, job.image_type, job.pull_tag)
            is_here = ready is not None and access.may_read(ready, caller, system)
            self._jobs.quotas.require_room(system, caller, is_new=not is_here)

    def _require_still_permitted(
        self, system: SystemConfig, job: ImageRecord, caller: Caller, noun: str
    ) -> None:
        """A job was allowed when it was asked for; what it would change may be another's by now."""
        if job.kind is JobKind.ACL:
            self._acls.require_repeatable(system, job, caller)
        if not job.is_import:
            return
        is_admin = access.is_admin(caller, system)
        if not (is_admin or access.may_import(caller, self._config)):
            raise NotPermittedError(
                f"{noun} cannot be repeated: you may not import images any more"
            )
        ready = self._catalog.find_ready(system.name, job.image_type, job.pull_tag)
        if ready is not None and not access.may_expire(ready, caller, system):
            raise NotPermittedError(
                f"{noun} cannot be repeated: an image of somebody else has that name by now"
            )

    def _required(
        self, system: SystemConfig, reference: ImageReference, caller: Caller, verb: str
    ) -> ImageRecord:
        job = self._find(system, reference, caller)
        if job is None:
            raise NoSuchJobError(
                f"there is no job for {reference} on {system.name}, or it is not for you to see"
            )
        if not access.may_expire(job, caller, system):
            raise NotPermittedError(
                f"{_NOUNS[job.kind].format(reference)} is not yours: only who asked for it, or an "
                f"administrator of {system.name}, may {verb} it"
            )
        return job

    def _find(
        self, system: SystemConfig, reference: ImageReference, caller: Caller
    ) -> ImageRecord | None:
        """The job that a name means: one that is not over rather than one that is, one's own rather
        than another's, the newest."""
        self._jobs.forget_old_failures()
        named = reference.with_default_tag()
        found = [
            job
            for job in self._catalog.list_queue(system.name)
            if _is_for(job, named) and access.may_see_job(job, caller, system)
        ]
        return max(
            enumerate(found),
            key=lambda numbered: (
                numbered[1].state is not PullState.FAILURE,
                access.is_owner(numbered[1], caller),
                numbered[0],
            ),
            default=(0, None),
        )[1]


def _is_for(job: ImageRecord, named: ImageReference) -> bool:
    if named.image_type == "id":
        return named.tag in (job.image_id, job.acl_image)
    return job.image_type == named.image_type and named.tag in (job.pull_tag, *job.tags)
