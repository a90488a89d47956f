# SPDX-License-Identifier: BSD-3-Clause
"""Where an image comes from: a registry, or something that a user imports."""

from __future__ import annotations

import contextlib
import dataclasses
from pathlib import Path
from typing import BinaryIO, Protocol

from shifter_imagegw.details import BuildStep, ImageDetails, Layer
from shifter_imagegw.flatten import FlattenReport
from shifter_imagegw.registry import ImageConfig


@dataclasses.dataclass(frozen=True, kw_only=True)
class SourceImage:
    """What an origin has found the image to be, before its files are written."""

    image_id: str
    digest: str  # `sha256:…` of all that the image is made of
    config: ImageConfig = dataclasses.field(default_factory=ImageConfig)
    private: bool = False
    is_private_known: bool = True  # else it only counts as private
    user: str | None = None  # who imported it
    layers: tuple[Layer, ...] | None = None  # where an image of a registry lies in these

    @property
    def details(self) -> ImageDetails:
        """What is kept for who inspects the image."""
        config = self.config
        return ImageDetails.bounded(
            created=config.created,
            author=config.author,
            user=config.user,
            layers=self.layers,
            history=(
                BuildStep(step.created, step.created_by, step.comment, step.empty_layer)
                for step in config.history
            ),
        )


class Origin(Protocol):
    """One image at its origin; its methods are called in this order, but for the first not always.

    Raises `PullError` and its like with the reason.
    """

    def resolve(self) -> SourceImage:
        """Find out what the image is."""

    def require_readable(self) -> None:
        """Have the origin show that the user may read all of the image, which is here already."""

    def is_ready_made(self, format: str) -> bool:
        """Whether the origin holds an image file of this format that is taken as it is."""

    def copy(self, staged: Path) -> None:
        """Write that file."""

    def write_tar(self, out: BinaryIO) -> FlattenReport:
        """Write the image's tree as one tar stream."""


class StreamedOrigin:
    """What all origins have in common that hold no image file."""

    def require_readable(self) -> None:
        pass

    def is_ready_made(self, format: str) -> bool:
        return False

    def copy(self, staged: Path) -> None:
        raise NotImplementedError("nothing is ready-made here")


OpenOrigin = contextlib.AbstractContextManager[Origin]  # what it began ends with its body
