# SPDX-License-Identifier: BSD-3-Clause
"""All that is known of one image, for who may use it."""

from __future__ import annotations

import dataclasses
from typing import Any

from shifter_common.reference import ImageReference
from shifter_imagegw.catalog import Catalog
from shifter_imagegw.config import SystemConfig
from shifter_imagegw.details import ImageDetails
from shifter_imagegw.records import ImageRecord
from shifter_imagegw.rules import access, accounts
from shifter_imagegw.rules.auth import Caller
from shifter_imagegw.rules.images import Images


@dataclasses.dataclass(frozen=True, kw_only=True)
class Inspection:
    """An image's record, what is kept beside it, and what the caller is to it."""

    record: ImageRecord
    details: ImageDetails
    path: str  # of the image file, as nodes of the system see it
    puller_name: str | None
    is_owner: bool
    may_change: bool

    def to_wire(self) -> dict[str, Any]:
        record = self.record
        return record.to_wire() | {
            "os": record.os,
            "CMD": None if record.command is None else list(record.command),
            "path": self.path,
            **self.details.to_wire(),
            "puller_name": self.puller_name,
            "is_owner": self.is_owner,
            "may_change": self.may_change,
            # Where a user keeps things is nobody else's business.
            "source_path": record.source_path if self.may_change else None,
            "source_format": record.source_format if self.may_change else None,
        }


class Inspections:
    """The rules of looking closely; it is no lookup, and keeps no image from expiring."""

    def __init__(self, catalog: Catalog, images: Images) -> None:
        self._catalog = catalog
        self._images = images

    def inspect(
        self, system: SystemConfig, reference: ImageReference, caller: Caller | None
    ) -> Inspection:
        record = self._images.required(system, reference, caller)
        image_id = record.image_id or ""
        return Inspection(
            record=record,
            details=self._catalog.find_details(system.name, image_id) or ImageDetails(),
            path=str(system.image_dir / f"{image_id}.{record.format}"),
            puller_name=None if record.puller is None else accounts.name_of(record.puller),
            is_owner=caller is not None and access.is_owner(record, caller),
            may_change=caller is not None and access.may_expire(record, caller, system),
        )
