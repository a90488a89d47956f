# SPDX-License-Identifier: BSD-3-Clause
"""Where a user may have something mounted: looked up with his rights, judged by where it is."""

from __future__ import annotations

from shifter_runtime.errors import VolumeError
from shifter_runtime.identity import Identity
from shifter_runtime.udi import Udi
from shifter_runtime.volumes import check_target, is_within

# What the site wrote into; in the image, each may be a symbolic link to another directory.
_OF_SITE = ("/etc", "/var", "/opt/udiImage")
_ALLOWED_WITHIN = "/var/tmp"


def open_for(
    user: Identity, udi: Udi, path: str, *, is_directory: bool, what: str = "volume target"
) -> int:
    """A descriptor of the mount point `path`, where a user may mount; made where it is missing.

    Root makes only what is missing, and only on filesystems that end with the container. The
    place is judged after every symbolic link of the image.
    """
    try:
        target = udi.open_target(path, is_directory=is_directory, user=user)
    except OSError as error:
        raise VolumeError(f"cannot use {what} {path!r}: {error.strerror}") from error
    place = udi.place_of(target)
    check_target(place)
    _require_apart_from_site(udi, place)
    return target


def _require_apart_from_site(udi: Udi, place: str) -> None:
    """Refuse what would hide the site's files where a link of the image has led them."""
    if place == _real_place(udi, _ALLOWED_WITHIN):
        return
    for path in _OF_SITE:
        real = _real_place(udi, path)
        if real != path and (is_within(place, real) or is_within(real, place)):
            raise VolumeError(
                f"cannot mount at {place}: in this image, {path} (reserved by Shifter) is a "
                f"symbolic link to {real}: choose another target"
            )


def _real_place(udi: Udi, path: str) -> str:
    try:
        return udi.place_of_path(path)
    except OSError:  # not there, or a link that leads nowhere
        return path
