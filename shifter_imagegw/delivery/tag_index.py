# SPDX-License-Identifier: BSD-3-Clause
"""The tag index beside the images: nodes find an image by name in it when no gateway answers.

One small file a tag, of the gateway's account alone: the names of private images are nobody
else's business. An entry that is out of date harms nobody, because the image's .meta, not the
index, says who may use it.
"""

from __future__ import annotations

import contextlib
import dataclasses
import os
import secrets
from pathlib import Path

from shifter_common import tag_index as places
from shifter_common.errors import InvalidReferenceError
from shifter_common.reference import ImageReference, is_image_id
from shifter_imagegw.catalog import Catalog
from shifter_imagegw.delivery import Delivery, IndexEntry, files
from shifter_imagegw.errors import DeliveryError

_LONGEST_ENTRY = 256  # bytes


@dataclasses.dataclass(frozen=True, kw_only=True)
class Rebuilt:
    """What had to be done until an index said what the catalog says."""

    written: int
    removed: int


def rebuild(system: str, catalog: Catalog, delivery: Delivery) -> Rebuilt:
    """Have the index of a system say what the catalog says, while pulls and removals go on."""
    wanted = {
        (record.image_type, tag)
        for record in catalog.list_ready(system)
        for tag in record.tags
        if is_possible(record.image_type, tag)
    }
    known = {(entry.image_type, entry.tag): entry.image_id for entry in delivery.indexed()}
    written = removed = 0
    for image_type, tag in sorted(wanted | set(known)):
        pull = catalog.find_pull(system, image_type, tag)
        record = catalog.find_ready(system, image_type, tag)  # after its pull: it may end meanwhile
        found = known.get((image_type, tag))
        if record is not None and record.image_id is not None:
            if record.image_id != found:
                delivery.index(image_type, tag, record.image_id)
                written += 1
        elif found is not None and not (pull is not None and pull.is_in_flight):
            delivery.unindex(image_type, tag, found)
            removed += 1
    return Rebuilt(written=written, removed=removed)


def settle(
    system: str, catalog: Catalog, delivery: Delivery, image_type: str, tag: str, image_id: str
) -> None:
    """Have one name say what the catalog says, after a job wrote or forgot `image_id` there.

    Who comes late may have undone what the present owner of the job did; whoever looks last, looks
    again after writing, so that the entry is right when both are done.
    """
    meant, known = _meant(system, catalog, image_type, tag), None
    while True:
        if meant is not None:
            delivery.index(image_type, tag, meant)
        else:
            delivery.unindex(image_type, tag, image_id)
        meant, known = _meant(system, catalog, image_type, tag), meant
        if meant == known:
            return


def _meant(system: str, catalog: Catalog, image_type: str, tag: str) -> str | None:
    record = catalog.find_ready(system, image_type, tag)
    return None if record is None else record.image_id


def is_possible(image_type: str, tag: str) -> bool:
    """Whether anybody can ask for this name; old catalogs may hold others."""
    try:
        return image_type in places.IMAGE_TYPES and bool(ImageReference.checked(image_type, tag))
    except InvalidReferenceError:
        return False


def place_of(image_type: str, tag: str, image_id: str) -> str:
    """Where the entry goes, below the image directory; refuses what no image is called."""
    if image_type not in places.IMAGE_TYPES or not is_image_id(image_id):
        raise DeliveryError(f"cannot index {image_type}:{tag} as image {image_id!r}")
    return places.path_of(image_type, ImageReference.checked(image_type, tag).tag)


def write(directory: Path, image_type: str, tag: str, image_id: str) -> None:
    """Let the name mean this image; atomic, and durable."""
    entry = directory / place_of(image_type, tag, image_id)
    if _read(entry) == image_id:
        return
    _make_directories(directory, entry.parent)
    hidden = _hidden(directory)
    with files.removed_on_failure(hidden):
        files.write(hidden, f"{image_id}\n".encode())
        os.rename(hidden, entry)
        files.sync(entry.parent)


def forget(directory: Path, image_type: str, tag: str, image_id: str) -> None:
    """Forget the name if it means this image; no complaint if it is not there."""
    if not is_possible(image_type, tag):
        return
    entry = directory / place_of(image_type, tag, image_id)
    if _read(entry) != image_id:
        return
    # Between a look and a removal another worker may have given the name to its image. So the
    # entry is put aside, looked at once more, and put back unless a newer one is there.
    hidden = _hidden(directory)
    with contextlib.suppress(FileNotFoundError):
        os.rename(entry, hidden)
        if _read(hidden) != image_id:
            with contextlib.suppress(FileExistsError):
                os.link(hidden, entry)
        hidden.unlink()
        files.sync(entry.parent)


def entries(directory: Path) -> list[IndexEntry]:
    """Everything that nodes find in the index."""
    found = []
    for parent, _, listed in os.walk(directory / places.DIRECTORY):
        for name in listed:
            path = Path(parent, name)
            entry = entry_of(_read(path) or "", str(path.relative_to(directory)))
            if entry is not None:
                found.append(entry)
    return found


def entry_of(image_id: str, place: str) -> IndexEntry | None:
    """What an entry says, which has this content and place; None for anything else."""
    known = places.tag_at(place)
    if known is None or not is_image_id(image_id):
        return None
    return IndexEntry(image_type=known[0], tag=known[1], image_id=image_id)


def _hidden(directory: Path) -> Path:
    return directory / places.DIRECTORY / f".{secrets.token_hex(8)}.partial"


def _make_directories(directory: Path, parent: Path) -> None:
    made = [parent, *parent.parents]
    for path in reversed(made[: made.index(directory)]):
        try:
            path.mkdir(files.DIRECTORY_MODE)
        except FileExistsError:
            continue
        files.sync(path.parent)


def _read(entry: Path) -> str | None:
    """The id in an entry; None where there is none, or anything else."""
    try:
        descriptor = os.open(entry, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError:
        return None
    try:
        text = os.read(descriptor, _LONGEST_ENTRY).decode("ascii", "replace").rstrip("\n")
    except OSError:
        return None
    finally:
        os.close(descriptor)
    return text if is_image_id(text) else None
