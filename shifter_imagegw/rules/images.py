# SPDX-License-Identifier: BSD-3-Clause
"""The READY image that a reference means, for who may know of it."""

from __future__ import annotations

from shifter_common.reference import ImageReference
from shifter_imagegw import formats
from shifter_imagegw.catalog import Catalog
from shifter_imagegw.config import SystemConfig
from shifter_imagegw.errors import ImageNotFoundError
from shifter_imagegw.records import ImageRecord
from shifter_imagegw.rules import access
from shifter_imagegw.rules.auth import Caller


class Images:
    """What is on the systems. An image that a caller may not use does not exist for them."""

    def __init__(self, catalog: Catalog) -> None:
        self._catalog = catalog

    def required(
        self, system: SystemConfig, reference: ImageReference, caller: Caller | None
    ) -> ImageRecord:
        record = self.readable(system, reference, caller)
        if record is None:
            raise self._not_found(system, reference, caller)
        return record

    def readable(
        self, system: SystemConfig, reference: ImageReference, caller: Caller | None
    ) -> ImageRecord | None:
        record = self.find_ready(system, reference)
        if record is None or not access.may_read(record, caller, system):
            return None
        return record

    def find_ready(self, system: SystemConfig, reference: ImageReference) -> ImageRecord | None:
        if reference.image_type == "id":
            found = (
                self._catalog.find_ready_id(system.name, reference.tag, image_format)
                for image_format in formats.FORMATS
            )
            return next((record for record in found if record is not None), None)
        named = reference.with_default_tag()
        record = self._catalog.find_ready(system.name, named.image_type, named.tag)
        if record is None and reference.image_type == "custom" and named != reference:
            # Older gateways imported such names as they were typed.
            return self._catalog.find_ready(system.name, reference.image_type, reference.tag)
        return record

    def _not_found(
        self, system: SystemConfig, reference: ImageReference, caller: Caller | None
    ) -> ImageNotFoundError:
        reference = reference.with_default_tag()
        pull = self._catalog.find_pull(system.name, reference.image_type, reference.tag)
        if pull is not None and pull.is_in_flight and access.may_see_job(pull, caller, system):
            return ImageNotFoundError(
                f"image not found: {reference} is still being "
                f"{'imported' if pull.is_import else 'pulled'} to {system.name} "
                f"({pull.state.value})"
            )
        return ImageNotFoundError(
            f"image not found: {reference} is not on {system.name}, or is not for you"
        )
