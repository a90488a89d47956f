# SPDX-License-Identifier: BSD-3-Clause
"""What a user may call an image: `docker:ubuntu:24.04`, `custom:mytool:v1`, `id:4f5a…`."""

from __future__ import annotations

from shifter_common.errors import InvalidReferenceError

IMAGE_TYPES = ("docker", "custom", "id", "local")

_TAG_CHARACTERS = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_.:+@-")
_LOWER_HEX = frozenset("0123456789abcdef")
_LONGEST_TAG = 512
_IMAGE_ID_LENGTH = 64  # hex digits of a sha256


class ImageReference:
    """An image type and the tag under which the gateway knows the image."""

    __slots__ = ("image_type", "tag")

    def __init__(self, image_type: str, tag: str) -> None:
        self.image_type = image_type
        self.tag = tag

    def __str__(self) -> str:
        return f"{self.image_type}:{self.tag}"

    def __repr__(self) -> str:
        return f"ImageReference({self.image_type!r}, {self.tag!r})"

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, ImageReference):
            return NotImplemented
        return (self.image_type, self.tag) == (other.image_type, other.tag)

    def __hash__(self) -> int:
        return hash((self.image_type, self.tag))

    @classmethod
    def parse(cls, text: str, default_type: str = "docker") -> ImageReference:
        """Read a reference as typed by a user.

        Text without a known type before its first colon has `default_type`; when that is empty,
        the type must be given. `docker://name` is accepted as other tools write it.
        """
        image_type, separator, tag = text.partition(":")
        if not separator or image_type not in IMAGE_TYPES:
            image_type, tag = default_type, text
        if not image_type:
            raise InvalidReferenceError(
                f"image {text!r} has no type and the site has no defaultImageType: "
                f"write it as docker:{text}"
            )
        return cls.checked(image_type, tag)

    @classmethod
    def checked(cls, image_type: str, tag: str) -> ImageReference:
        """Make a reference of parts that came from outside; refuse what no image is called."""
        if image_type not in IMAGE_TYPES:
            raise InvalidReferenceError(
                f"unknown image type {image_type!r}: known are {', '.join(IMAGE_TYPES)}"
            )
        if image_type == "docker" and tag.startswith("//"):
            tag = tag[2:]
        _require_tag(image_type, tag)
        return cls(image_type, tag)

    def with_default_tag(self) -> ImageReference:
        """The same reference with `:latest` where neither a tag nor a digest was given."""
        if self.image_type not in ("docker", "custom"):
            return self
        if "@" in self.tag or ":" in self.tag.rpartition("/")[2]:
            return self
        return ImageReference(self.image_type, f"{self.tag}:latest")


def is_image_id(text: str) -> bool:
    """Whether `text` can be the id of an image: 64 lower-case hexadecimal digits."""
    return len(text) == _IMAGE_ID_LENGTH and _LOWER_HEX.issuperset(text)


def _require_tag(image_type: str, tag: str) -> None:
    shown = f"{image_type}:{tag}"
    if len(tag) > _LONGEST_TAG:
        raise InvalidReferenceError(
            f"image name is {len(tag)} characters long, at most {_LONGEST_TAG} are allowed"
        )
    if not tag:
        raise InvalidReferenceError(f"{shown!r} names no image: write it as {image_type}:NAME")
    with_slash = image_type in ("docker", "local")
    for character in tag:
        if character not in _TAG_CHARACTERS and not (with_slash and character == "/"):
            raise InvalidReferenceError(f"{shown!r} is no image name: it holds {character!r}")
    if image_type == "local":
        if not tag.startswith("/"):
            raise InvalidReferenceError(f"{shown!r}: a local image is an absolute path")
        return
    if any(part in ("", ".", "..") for part in tag.split("/")):
        raise InvalidReferenceError(f"{shown!r} is no image name: it holds an empty or dotted part")
    if tag[0] in ":@-." or tag[-1] in ":@":
        raise InvalidReferenceError(f"{shown!r} is no image name: check its start and its end")
