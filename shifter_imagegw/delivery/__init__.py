# SPDX-License-Identifier: BSD-3-Clause
"""Where finished images go: one interface, one module per way to reach a system's filesystem."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Protocol


@dataclasses.dataclass(frozen=True, kw_only=True)
class Partial:
    """A file that a worker has begun to write; `age` is the seconds since it last did."""

    path: Path
    worker: str
    age: float


@dataclasses.dataclass(frozen=True, kw_only=True)
class StoredImage:
    """An image that lies in an image directory, whether or not a record knows it."""

    image_id: str
    format: str
    size: int  # bytes
    age: float  # seconds since it was delivered
    has_metadata: bool


@dataclasses.dataclass(frozen=True, kw_only=True)
class IndexEntry:
    """A name in the tag index, and the image that it means to nodes."""

    image_type: str
    tag: str
    image_id: str


class ImageFile(Protocol):
    """The file of an image, open for reading: it stays whole, whatever becomes of the image."""

    @property
    def size(self) -> int:
        """How many bytes it has."""

    @property
    def changed(self) -> int:
        """When it was written; in which unit is its own affair."""

    def begin_at(self, first: int) -> None:
        """Have reading begin at this byte; to be said once, before the first `read`."""

    def read(self, most: int) -> bytes:
        """The next bytes, at most so many; none at its end. Raises `DeliveryError`."""

    def close(self) -> None: ...


class Delivery(Protocol):
    """The image directory of one system. Each method raises `DeliveryError`."""

    def require_usable(self) -> None:
        """Complain before the work begins if nothing can be written there."""

    def staging(
        self, image_id: str, format: str, worker: str
    ) -> contextlib.AbstractContextManager[Path]:
        """Where `worker` may write this image while the body runs: an empty, hidden file.

        For the format VFS it is an empty directory of the gateway's account alone. The file is to
        be written, not made anew: it may have a layout that its filesystem gives at creation only.
        What has not been delivered by then is removed. A `ConversionError` of the body becomes a
        `DeliveryError` where the reason is that no space is left.
        """

    def deliver(
        self,
        staged: Path,
        image_id: str,
        format: str,
        worker: str,
        metadata: str,
        confirm: Callable[[], None],
    ) -> int:
        """Make a staged image and its .meta text durable and visible; the image's bytes.

        `confirm` is called when all that takes long is done and nothing is visible yet; it raises
        to stop there. What is left to do then are renames of files that `shut_out_others` takes
        away, so that a worker that stands still after it can publish nothing later.
        """

    def deliver_metadata(
        self, image_id: str, worker: str, metadata: str, confirm: Callable[[], None]
    ) -> None:
        """Replace the .meta of an image that is delivered already; `confirm` as in `deliver`."""

    def read_metadata(self, image_id: str) -> str:
        """The .meta of an image that is delivered; bytes that are no text are surrogates."""

    def shut_out_others(self, image_id: str, worker: str) -> None:
        """Discard what others have begun of an image that the job of `worker` holds.

        Who had the image before may have stood still for longer than its lease, and not know yet.
        """

    def is_delivered(self, image_id: str, format: str) -> bool:
        """Whether the image and its .meta are both there, and the image no shorter than it says."""

    def size(self, image_id: str, format: str) -> int:
        """Bytes of a delivered image."""

    def open_image(self, image_id: str, format: str) -> ImageFile:
        """The file of a delivered image; not of a format that is a directory."""

    def remove(self, image_id: str, format: str, worker: str, confirm: Callable[[], None]) -> None:
        """Take an image away; no complaint if it is not there.

        `confirm` is called when nobody sees the image any more. Where it raises, because it was
        not to go, all is put back, unless it is there anew.
        """

    def index(self, image_type: str, tag: str, image_id: str) -> None:
        """Let nodes find an image by this name when no gateway answers; see `tag_index`."""

    def unindex(self, image_type: str, tag: str, image_id: str) -> None:
        """Forget a name, unless it means another image by now."""

    def indexed(self) -> list[IndexEntry]:
        """Every name that nodes find in the index."""

    def images(self) -> list[StoredImage]:
        """Every image that lies there."""

    def partials(self) -> list[Partial]:
        """Whatever workers have begun to write and not delivered."""

    def discard(self, partial: Partial) -> None:
        """Remove what nobody will finish."""
