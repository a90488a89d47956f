# SPDX-License-Identifier: BSD-3-Clause
"""The file of an image, for who may use it; to run it elsewhere, say."""

from __future__ import annotations

import dataclasses

from shifter_common.reference import ImageReference
from shifter_imagegw.config import GatewayConfig, SystemConfig
from shifter_imagegw.delivery import Delivery, ImageFile
from shifter_imagegw.delivery.opening import open_delivery
from shifter_imagegw.errors import BadRequestError, DeliveryError, ExportError
from shifter_imagegw.formats import DIRECTORY_FORMATS
from shifter_imagegw.records import ImageRecord
from shifter_imagegw.rules.auth import Caller
from shifter_imagegw.rules.images import Images

# In a container of the image; what is mounted there stays out.
SAVING = "tar -c --one-file-system -C / . >image.tar"


@dataclasses.dataclass(frozen=True)
class ExportedFile:
    """An image file, open for reading."""

    record: ImageRecord
    file: ImageFile
    version: str  # another one where the file's bytes may be others


class Exports:
    """The rules of fetching an image's file; that is no lookup."""

    def __init__(self, config: GatewayConfig, images: Images) -> None:
        self._config = config
        self._images = images
        self._deliveries: dict[str, Delivery] = {}

    def open(self, system: SystemConfig, reference: ImageReference, caller: Caller) -> ExportedFile:
        record = self._images.required(system, reference, caller)
        image_id = record.image_id or ""
        if record.format in DIRECTORY_FORMATS:
            raise BadRequestError(
                f"{reference} is a directory on {system.name} (format {record.format}), and only "
                f'files are exported: save it with "shifter --image={reference} {SAVING}"'
            )
        try:
            file = self._delivery_to(system).open_image(image_id, record.format)
        except DeliveryError as error:
            raise ExportError(f"cannot export {reference}: {error}") from error
        return ExportedFile(record, file, f"{image_id[:16]}-{file.size:x}-{file.changed:x}")

    def _delivery_to(self, system: SystemConfig) -> Delivery:
        """Kept: one that goes by ssh remembers which host answers."""
        if system.name not in self._deliveries:
            self._deliveries[system.name] = open_delivery(system, self._config)
        return self._deliveries[system.name]
