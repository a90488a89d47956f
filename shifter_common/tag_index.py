# SPDX-License-Identifier: BSD-3-Clause
"""Where the tag index, beside the images, keeps the id of the image that carries a tag.

`.tags/docker/ubuntu:24.04` holds one line, the id. A slash in a tag is written `%2F`. What is
longer than a file name may be goes on one directory deeper: `%` ends each part that goes on and
begins each that does, and since `%` is in no tag, no two tags have one place.
"""

from __future__ import annotations

DIRECTORY = ".tags"
IMAGE_TYPES = ("docker", "custom")  # the others need no look-up

_LONGEST_PART = 200  # characters; a file name may have 255 bytes


def path_of(image_type: str, tag: str) -> str:
    """The place of a tag that `ImageReference` has checked, below the image directory."""
    name = tag.replace("/", "%2F")
    parts = [name[start : start + _LONGEST_PART] for start in range(0, len(name), _LONGEST_PART)]
    return f"{DIRECTORY}/{image_type}/{'%/%'.join(parts)}"


def tag_at(path: str) -> tuple[str, str] | None:
    """The image type and the tag that have this place; None where no tag has."""
    directory, _, rest = path.partition("/")
    image_type, _, name = rest.partition("/")
    tag = name.replace("%/%", "").replace("%2F", "/")
    if directory != DIRECTORY or not tag or path_of(image_type, tag) != path:
        return None
    return image_type, tag
