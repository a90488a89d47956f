# SPDX-License-Identifier: BSD-3-Clause
"""Where records are kept: one interface, one contract test suite, two homes (SQLite, MongoDB).

Who delivers or removes the file of an image holds that image (`hold`) from before it looks
(`find_ready_id`, or `renew` of an expire claim) until its job ends (`publish`, `finish_expire`): a
removal whose image was published meanwhile then meets `LeaseLostError` before it has removed
anything.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from datetime import timedelta
from typing import Protocol

from shifter_imagegw.details import ImageDetails, LayerProgress
from shifter_imagegw.records import (
    Claim,
    Holding,
    ImageRecord,
    Lookup,
    NewPull,
    PublishedImage,
    PullState,
    Usage,
    UsageCount,
    UsageDay,
)


class Catalog(Protocol):
    """The truth about every image. Each method is one atomic step, safe from many processes.

    Raises `CatalogError` where the catalog cannot be read or written.
    """

    def close(self) -> None:
        """Let go of connections; a later call opens anew."""

    def check(self) -> None:
        """Raise `CatalogError` unless the catalog can be read and written now."""

    # What is known

    def find_ready(self, system: str, image_type: str, tag: str) -> ImageRecord | None:
        """The READY image that carries `tag`."""

    def find_ready_id(self, system: str, image_id: str, format: str) -> ImageRecord | None:
        """The READY image with this content."""

    def find_pull(self, system: str, image_type: str, pull_tag: str) -> ImageRecord | None:
        """The newest record of a pull of `pull_tag` that is not READY, whatever its state."""

    def find_failure(
        self, system: str, image_type: str, pull_tag: str, uid: int
    ) -> ImageRecord | None:
        """The newest FAILURE of a pull of `pull_tag` by `uid` that they have not been told of."""

    def list_ready(self, system: str) -> list[ImageRecord]:
        """Every READY image of a system."""

    def list_queue(self, system: str, puller: int | None = None) -> list[ImageRecord]:
        """Every pull, or those of one user, that is neither READY nor EXPIRED, oldest first."""

    def list_expired(self, system: str, now: float) -> list[ImageRecord]:
        """Every READY image whose expiration has passed."""

    def usage(self, system: str, puller: int) -> Usage:
        """What the READY images take that `puller` was the first to pull or import."""

    def count_queued(self, puller: int) -> int:
        """How many pulls and imports of one user are in flight, on all systems."""

    def count_states(self) -> Mapping[tuple[str, PullState], int]:
        """How many records there are, by system and state."""

    def count_claimable(self, systems: Collection[str], now: float) -> Mapping[str, int]:
        """How many jobs `claim` would give now, by system; those with none are left out."""

    def find_details(self, system: str, image_id: str) -> ImageDetails | None:
        """What `publish` was told of an image beside its record; older gateways kept nothing."""

    def list_lookups(self, system: str, limit: int) -> list[Lookup]:
        """The last `limit` lookups of a system, oldest first."""

    def holdings(self, system: str) -> list[Holding]:
        """What the READY images of a system take, by who was the first to pull them."""

    def usage_days(self, system: str, first_day: str) -> list[UsageDay]:
        """The usage history of a system since that day; days without any are left out."""

    def usage_counts(self, system: str, first_day: str) -> list[UsageCount]:
        """What happened on a system since that day, summed by image, user and restriction."""

    # What is asked for

    def add_pull(self, new: NewPull, now: float) -> ImageRecord:
        """Put a pull in the queue (PENDING, last_pull = now), or return the one in flight.

        Removes earlier EXPIRED records of the same system, type and tag, and those FAILURE ones
        that are not what another puller still has to be told. N callers at once get one and the
        same record.
        """

    def add_expire(self, record: ImageRecord, *, expired_at: float | None = None) -> None:
        """Put the removal of a READY image in the queue: its state becomes EXPIRING.

        Does nothing where it is not READY any more; with `expired_at`, neither where its
        expiration has been moved beyond that time since the record was read.
        """

    def cancel(self, record: ImageRecord, reason: str, now: float) -> bool:
        """End a job with FAILURE, whoever works on it; False where there is nothing to end.

        Whoever works on it meets `LeaseLostError` with its next write. A removal ends with READY
        if nobody has begun it; one that was begun goes on: the answer is False.
        """

    def requeue(self, record: ImageRecord, sealed_credentials: str | None, now: float) -> bool:
        """Have a job done anew that has failed or is stuck; its tries are counted anew, too.

        Whoever works on it meets `LeaseLostError`. False where the job is gone, or another of the
        same name is in flight.
        """

    def arm_expiration(self, record: ImageRecord, expiration: float) -> None:
        """Push the time at which an unused image may be removed."""

    def tell_failure(self, record: ImageRecord, uid: int) -> bool:
        """Note that `uid` has been told of a FAILURE; whether that is news to them."""

    def purge_failures(self, before: float) -> None:
        """Forget records that ended in FAILURE before that time (`fail` sets their last_pull)."""

    def purge_ended(self, system: str, before: float) -> int:
        """Forget FAILURE and EXPIRED records of a system that ended before; how many.

        Of an EXPIRED one `last_pull` stands for its end.
        """

    def add_lookup(self, lookup: Lookup) -> None:
        """Keep a row of the metrics; one that is lost in a crash is no loss."""

    def add_usage(self, counts: Collection[UsageCount]) -> None:
        """Add to the usage history; what is lost in a crash is no loss."""

    def set_stock(self, system: str, day: str, images: int, size: int) -> None:
        """Note in the usage history what a system holds, in the place of what was noted before."""

    def purge_usage(self, before_day: str) -> None:
        """Forget the usage history of all days before that one."""

    # What workers do; every write carries the claim's token, else LeaseLostError

    def claim(
        self, systems: Collection[str], worker: str, lease: timedelta, now: float
    ) -> Claim | None:
        """Take a job (pull or expire) that is unclaimed or whose lease ran out.

        Of several pullers, whoever has waited longest since a job of theirs was worked on comes
        first, so that nobody's thousand pulls keep all others waiting; of one puller's, the oldest.
        """

    def renew(self, claim: Claim, lease: timedelta, now: float) -> None:
        """Keep the claim for `lease` more, and note the heartbeat."""

    def hold(self, claim: Claim, image_id: str, now: float) -> bool:
        """Have an image of the claim's system for this job alone; False while another job has it.

        Ends with the job (`publish`, `fail`, `finish_expire`), when it is given back, released or
        claimed anew, and yields to others once the lease of its holder has run out: that job is
        then no longer its worker's. To hold what one holds already is True; a job holds one image
        at a time. `LeaseLostError` for a removal whose image is READY again.
        """

    def report(
        self,
        claim: Claim,
        state: PullState,
        message: str,
        *,
        bytes_done: int | None = None,
        bytes_total: int | None = None,
        layers: Sequence[LayerProgress] | None = None,
    ) -> None:
        """Say how far a pull is; counts that are not given are forgotten."""

    def publish(self, claim: Claim, image: PublishedImage, now: float) -> ImageRecord:
        """End a pull with READY.

        The pull's record becomes the image's, or, where the same id is READY already on that
        system, disappears into the older record, whose last_pull, ACLs and privacy are set anew.
        Who may read it afterwards is what `acl.acl_after_pull` says (the .meta file must say
        the same). The tag is moved: taken from every other record of the system and type, added
        to this one. EXPIRED and EXPIRING records of the same content are removed. `details` are
        kept until the image is removed.
        """

    def set_acl(self, claim: Claim) -> ImageRecord:
        """Give the image of a change of lists the job's lists; its READY record.

        The job goes on: `finish_acl` ends it. The lists are those of all formats of the image,
        which share a .meta file. `PullError` where the image is not READY any more.
        """

    def finish_acl(self, claim: Claim, now: float) -> None:
        """End a change of lists: its record goes, and the image's `acl_set` is `now`."""

    def fail(self, claim: Claim, reason: str) -> None:
        """End a job with FAILURE; `reason` becomes status_message."""

    def finish_expire(self, claim: Claim) -> None:
        """End a removal: EXPIRED."""

    def give_back(self, worker: str) -> None:
        """End the leases of a worker that stops in good order: its tries do not count."""

    def release(self, workers: Collection[str]) -> int:
        """End the leases of workers that are known to be dead; how many there were."""

    def workers(self) -> list[str]:
        """Everybody who holds a lease at present."""

    # What processes agree on

    def elect(self, role: str, process: str, duration: timedelta, now: float) -> bool:
        """Whether `process` has `role` for `duration` from now on.

        One process has a role at a time; whoever has it may extend it; once its time has run out
        it is anybody's, and soon forgotten.
        """

    def is_taken(self, role: str, now: float) -> bool:
        """Whether any process has `role`."""
