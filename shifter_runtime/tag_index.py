# SPDX-License-Identifier: BSD-3-Clause
"""The tag index beside the images, as the gateway writes it; see `shifter_common.tag_index`.

What it says is no permission: the access lists in an image's .meta hold however it was found. Yet
who could write here could give others another image than they asked for, so it is trusted no
further than the images are: on descriptors, through no link, and only what their owners wrote.
"""

from __future__ import annotations

import os
import stat

from shifter_common import tag_index as places
from shifter_common.reference import ImageReference, is_image_id
from shifter_runtime import image
from shifter_runtime.config import RuntimeConfig
from shifter_runtime.errors import SetupError

_ENTRY_LENGTH = 65  # an id, and the end of the line


def path(config: RuntimeConfig) -> str:
    """Where the index is."""
    return f"{config.image_path}/{places.DIRECTORY}"


def read(reference: ImageReference, config: RuntimeConfig) -> str | None:
    """The id of the image that carries this tag; None where the index leads to no image."""
    if reference.image_type not in places.IMAGE_TYPES:
        return None
    images = image.open_image_path(config)
    try:
        owners = image.trusted_owners(images, config)
        place = places.path_of(reference.image_type, reference.tag)
        image_id = _find(images, place.split("/"), config.image_path, owners)
        # An entry may outlive its image, where somebody removed that by hand.
        return image_id if image_id is not None and _is_there(images, image_id) else None
    finally:
        os.close(images)


def _find(directory: int, names: list[str], place: str, owners: set[int]) -> str | None:
    """Go down by descriptors to the last of `names`, and read it."""
    name, *rest = names
    place += "/" + name
    if not rest:
        return _read_entry(directory, name, place, owners)
    inner = _open(directory, name, place, owners, stat.S_IFDIR)
    if inner is None:
        return None
    try:
        return _find(inner, rest, place, owners)
    finally:
        os.close(inner)


def _is_there(images: int, image_id: str) -> bool:
    try:
        os.stat(image_id + ".meta", dir_fd=images, follow_symlinks=False)
    except OSError:
        return False
    return True


def _read_entry(directory: int, name: str, place: str, owners: set[int]) -> str | None:
    fd = _open(directory, name, place, owners, stat.S_IFREG)
    if fd is None:
        return None
    try:
        text = os.read(fd, _ENTRY_LENGTH + 1).decode("ascii", "replace")
    finally:
        os.close(fd)
    image_id = text.removesuffix("\n")
    if not is_image_id(image_id) or text != image_id + "\n":
        raise SetupError(
            f"{place} holds no image id: ask the administrator to run shifter-gateway index rebuild"
        )
    return image_id


def _open(directory: int, name: str, place: str, owners: set[int], kind: int) -> int | None:
    try:
        fd = image.open_in_image_path(directory, name, owners)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise SetupError(f"cannot open {place}: {error.strerror}") from error
    image.require_trusted(fd, place, owners, kind)
    return fd
