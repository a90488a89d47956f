# SPDX-License-Identifier: BSD-3-Clause
"""The file of an image, for who may use it; to run it elsewhere, say."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Mapping
from typing import BinaryIO

from shifter_common.reference import ImageReference
from shifter_imagegw.config import GatewayConfig, SystemConfig
from shifter_imagegw.delivery import Delivery
from shifter_imagegw.delivery.opening import open_delivery
from shifter_imagegw.errors import BadRequestError, DeliveryError, ExportError
from shifter_imagegw.formats import DIRECTORY_FORMATS
from shifter_imagegw.records import ImageRecord
from shifter_imagegw.rules.auth import Caller
from shifter_imagegw.rules.images import Images


@dataclasses.dataclass(frozen=True)
class ExportedFile:
    """An image file, open for reading: it stays whole, whatever becomes of the image."""

    record: ImageRecord
    file: BinaryIO
    size: int
    version: str  # another one where the file's bytes may be others


class Exports:
    """The rules of fetching an image's file; that is no lookup."""

    def __init__(self, config: GatewayConfig, images: Images) -> None:
        self._config = config
        self._images = images
        self._deliveries: Mapping[str, Delivery] = {
            name: open_delivery(system, config)
            for name, system in config.systems.items()
            if system.ssh is None
        }

    def open(self, system: SystemConfig, reference: ImageReference, caller: Caller) -> ExportedFile:
        record = self._images.required(system, reference, caller)
        image_id = record.image_id or ""
        if record.format in DIRECTORY_FORMATS:
            raise BadRequestError(
                f"{reference} is a directory on {system.name} (format {record.format}), which is "
                "no file to export"
            )
        delivery = self._deliveries.get(system.name)
        if delivery is None:
            raise BadRequestError(
                f"images of {system.name} lie on other hosts than the gateway's: {reference} is "
                f"{system.image_dir / f'{image_id}.{record.format}'} there"
            )
        try:
            file = delivery.open_image(image_id, record.format)
        except DeliveryError as error:
            raise ExportError(f"cannot export {reference}: {error}") from error
        found = os.fstat(file.fileno())
        version = f"{image_id[:16]}-{found.st_size:x}-{found.st_mtime_ns:x}"
        return ExportedFile(record, file, found.st_size, version)
