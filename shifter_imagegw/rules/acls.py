# SPDX-License-Identifier: BSD-3-Clause
"""Who may change who may use an image that is here."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

from shifter_common.reference import ImageReference
from shifter_imagegw.acl import Acl, acl_of, has_meant_owner
from shifter_imagegw.catalog import Catalog
from shifter_imagegw.config import GatewayConfig, SystemConfig
from shifter_imagegw.errors import BadRequestError, ImageNotFoundError, NotPermittedError
from shifter_imagegw.records import ImageRecord, JobKind, NewPull, PullState
from shifter_imagegw.rules import access
from shifter_imagegw.rules.auth import Caller
from shifter_imagegw.rules.images import Images
from shifter_imagegw.rules.jobs import FAILURE_IS_NEWS, Jobs

# A client asks again every second or so: for this long a change that was made is its answer.
_DONE_IS_NEWS = 60.0  # seconds


class AclChanges:
    """The rules of changing the lists; a worker does it, and clients ask again until it is done."""

    def __init__(
        self,
        config: GatewayConfig,
        catalog: Catalog,
        images: Images,
        jobs: Jobs,
        clock: Callable[[], float],
    ) -> None:
        self._config = config
        self._catalog = catalog
        self._images = images
        self._jobs = jobs
        self._clock = clock

    def change(
        self,
        system: SystemConfig,
        reference: ImageReference,
        caller: Caller,
        asked: Acl,
        *,
        public: bool,
    ) -> ImageRecord:
        """Have an image's lists set to exactly these, or taken away (`public`); how far that is."""
        image = self._images.required(system, reference, caller)
        # Looked for first: a change that ends between the two looks is seen as done.
        job = self._catalog.find_pull(system.name, image.image_type, _name_of(image))
        image = self._images.required(system, reference, caller)
        _require_permitted(system, reference, image, caller)
        wanted = self._wanted(system, reference, image, caller, asked, public=public)
        if job is not None and job.is_in_flight:
            if job.kind is not JobKind.ACL:
                return _waiting(image, "Waiting for a pull of the same name")
            if _are_same(acl_of(job), wanted):
                return dataclasses.replace(job, image_id=image.image_id, tags=image.tags)
            self._catalog.cancel(job, "other lists were asked for meanwhile", self._clock())
        elif self._is_done(image, wanted):
            return image
        else:
            failure = self._news(system, image, caller, wanted)
            if failure is not None:
                return failure
        return self._start(system, image, caller, wanted)

    def require_repeatable(self, system: SystemConfig, job: ImageRecord, caller: Caller) -> None:
        """Raise where `caller` would be refused a change by now that was allowed once.

        The image may have gone since and come again, as somebody else's or as a private one.
        """
        image = self._images.required(system, ImageReference("id", job.acl_image or ""), caller)
        reference = ImageReference(job.image_type, job.pull_tag)
        _require_permitted(system, reference, image, caller)
        asked = acl_of(job)
        self._wanted(system, reference, image, caller, asked, public=not asked)
        if not has_meant_owner(job, image):
            raise NotPermittedError(
                f"the change of who may use {reference} cannot be repeated: it was meant for an "
                "image of another user's, so ask for a new one"
            )

    def _wanted(
        self,
        system: SystemConfig,
        reference: ImageReference,
        image: ImageRecord,
        caller: Caller,
        asked: Acl,
        *,
        public: bool,
    ) -> Acl:
        if public and asked:
            raise BadRequestError(
                "an image is either for everybody (public) or for users and groups: leave out one"
            )
        if public and image.private:
            raise NotPermittedError(
                f"{reference} is private in its registry, which does not show it to everybody: "
                "name the users and groups who may use it"
            )
        wanted = Acl()
        if not public:
            wanted = asked if image.puller is None else access.asked_by(image.puller, asked)
            if not wanted:
                raise BadRequestError(
                    f"nobody knows whose {reference} is: name at least one user or group, or "
                    "remove it and pull it again"
                )
        self._require_vetted(system, image, caller, wanted)
        return wanted

    def _require_vetted(
        self, system: SystemConfig, image: ImageRecord, caller: Caller, wanted: Acl
    ) -> None:
        """Where anybody may import, what goes by a docker name stays its importer's, as there."""
        is_vetted = not self._config.anyone_may_import or access.is_admin(caller, system)
        own = Acl(users=(caller.uid,))
        if not image.is_import or is_vetted or _are_same(wanted, own):
            return
        for tag in image.tags:
            named = self._catalog.find_ready(system.name, "docker", tag)
            if named is not None and named.key == image.key:
                raise NotPermittedError(
                    f"what you imported as docker:{tag} is for you alone, since others would take "
                    f"it for the registry's: import it as custom:{tag} to share it"
                )

    def _is_done(self, image: ImageRecord, wanted: Acl) -> bool:
        age = self._clock() - (image.acl_set or 0.0)
        return age <= _DONE_IS_NEWS and _are_same(acl_of(image), wanted)

    def _news(
        self, system: SystemConfig, image: ImageRecord, caller: Caller, wanted: Acl
    ) -> ImageRecord | None:
        """A change of the caller's that has failed just now; it is told once."""
        failure = self._catalog.find_failure(
            system.name, image.image_type, _name_of(image), caller.uid
        )
        if failure is None or failure.kind is not JobKind.ACL:
            return None
        age = self._clock() - (failure.last_pull or 0.0)
        is_news = age <= FAILURE_IS_NEWS.total_seconds() and _are_same(acl_of(failure), wanted)
        if is_news and self._catalog.tell_failure(failure, caller.uid):
            return failure
        return None

    def _start(
        self, system: SystemConfig, image: ImageRecord, caller: Caller, wanted: Acl
    ) -> ImageRecord:
        if image.image_id is None:
            raise ImageNotFoundError(f"image not found: {image.pull_tag} has no id")
        new = NewPull(
            system=system.name,
            image_type=image.image_type,
            pull_tag=_name_of(image),
            format=image.format,
            user_acl=wanted.users,
            group_acl=wanted.groups,
            puller=caller.uid,
            acl_image=image.image_id,
        )
        job = self._jobs.start(new, caller, system)
        if job.kind is not JobKind.ACL:
            return _waiting(image, "Waiting for a pull of the same name")
        return dataclasses.replace(job, image_id=image.image_id, tags=image.tags)


def _require_permitted(
    system: SystemConfig, reference: ImageReference, image: ImageRecord, caller: Caller
) -> None:
    if not access.may_expire(image, caller, system):
        raise NotPermittedError(
            f"who may use {reference} is set by who pulled or imported it first, or by an "
            f"administrator of {system.name}"
        )


def _waiting(image: ImageRecord, message: str) -> ImageRecord:
    return dataclasses.replace(image, state=PullState.PENDING, status_message=message)


def _name_of(image: ImageRecord) -> str:
    """The one name under which its lists are changed, whichever it was asked for by."""
    return image.tags[0] if image.tags else image.pull_tag


def _are_same(one: Acl, other: Acl) -> bool:
    return (set(one.users), set(one.groups)) == (set(other.users), set(other.groups))
