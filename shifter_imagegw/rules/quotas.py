# SPDX-License-Identifier: BSD-3-Clause
"""How much one user may have on a system, and in the queue."""

from __future__ import annotations

from shifter_imagegw import units
from shifter_imagegw.catalog import Catalog
from shifter_imagegw.config import LimitsConfig, SystemConfig
from shifter_imagegw.errors import NotPermittedError, TooManyPullsError
from shifter_imagegw.records import ImageRecord
from shifter_imagegw.rules import access
from shifter_imagegw.rules.auth import Caller


class Quotas:
    """Asked before a job is put into the queue. Administrators have none.

    Requests that come at the very same time do not see each other, so a user may end up with a few
    more than allowed, as many as the gateway answers at once.
    """

    def __init__(self, limits: LimitsConfig, catalog: Catalog) -> None:
        self._limits = limits
        self._catalog = catalog

    def require_turn(self, system: SystemConfig, caller: Caller) -> None:
        """Refuse one more pull or import where the caller has as many in the queue as allowed."""
        if access.is_admin(caller, system):
            return
        most = self._limits.queued_pulls_per_user
        queued = self._catalog.count_queued(caller.uid)
        if queued >= most:
            raise TooManyPullsError(
                f"you have {queued} pulls in the queue already, and {most} are allowed: wait until "
                "some of them are ready"
            )

    def require_room(self, system: SystemConfig, caller: Caller, *, is_new: bool) -> None:
        """Refuse what would take the caller above the site's bounds.

        What the caller finds on the system already (not `is_new`) is fetched again at the bound
        too, but not above: if its content has changed, the old stays until somebody removes it.
        """
        most, most_bytes = self._limits.images_per_user, self._limits.bytes_per_user
        if (most is None and most_bytes is None) or access.is_admin(caller, system):
            return
        usage = self._catalog.usage(system.name, caller.uid)
        if most is not None:
            coming = self._coming(system, caller)
            if usage.images + coming + is_new > most:
                on_the_way = f" and {coming} more on the way" if coming else ""
                raise _refusal(system, f"{_images(usage.images)}{on_the_way}", f"{most} are")
        if most_bytes is not None and usage.bytes + is_new > most_bytes:
            raise _refusal(
                system, f"images of {units.size(usage.bytes)}", f"{units.size(most_bytes)} is"
            )

    def _coming(self, system: SystemConfig, caller: Caller) -> int:
        """How many images the caller's pulls in the queue will add."""
        mine = self._catalog.list_queue(system.name, caller.uid)
        return sum(record.is_in_flight and not self._is_here(system, record) for record in mine)

    def _is_here(self, system: SystemConfig, record: ImageRecord) -> bool:
        ready = self._catalog.find_ready(system.name, record.image_type, record.pull_tag)
        return ready is not None


def _refusal(system: SystemConfig, held: str, allowed: str) -> NotPermittedError:
    return NotPermittedError(
        f"you have {held} on {system.name}, and {allowed} allowed: remove what you no longer need "
        "with 'shifterimg expire'"
    )


def _images(count: int) -> str:
    return f"{count} image" if count == 1 else f"{count} images"
