# SPDX-License-Identifier: BSD-3-Clause
"""Names of entries: what they mean, and which of them no image may have."""

from __future__ import annotations

from shifter_imagegw.flatten.errors import LayerError, UnsafeLayerError

WHITEOUT_PREFIX = b".wh."
OPAQUE_WHITEOUT = b".wh..wh..opq"
AUFS_PREFIX = b".wh..wh."  # what AUFS kept for itself; images of old Dockers have some

NAME_MAX = 255  # bytes in one component, as in Linux
PATH_MAX = 4095  # bytes
_AS_WRITTEN_MAX = 16 << 10  # bytes of a name with all its `./` and `../`
TARGET_MAX = 4095  # bytes in the target of a symbolic link


def normalise(name: bytes, layer: str) -> bytes:
    """Give `name` as a path from the root, without leading `/` and without `.`, `..` and `//`.

    `..` is taken out by the text alone, as Go's `filepath.Clean` does in every image builder.
    """
    if (
        b"/." not in name
        and b"//" not in name
        and name[:1] not in (b"/", b".")
        and len(name) <= NAME_MAX
    ):
        return name.removesuffix(b"/")
    if len(name) > _AS_WRITTEN_MAX:
        raise _too_long(name, layer)
    parts: list[bytes] = []
    for part in name.split(b"/"):
        if part in (b"", b"."):
            continue
        if part != b"..":
            parts.append(part)
        elif parts:
            parts.pop()
        else:
            raise UnsafeLayerError(
                f"layer {layer} has an entry that leaves the image: {show(name)}"
            )
    if len(max(parts, key=len, default=b"")) > NAME_MAX:
        raise LayerError(
            f"layer {layer} has an entry with a name of more than {NAME_MAX} bytes,"
            f" which no Linux filesystem holds: {show(name)}"
        )
    path = b"/".join(parts)
    if len(path) > PATH_MAX:
        raise _too_long(path, layer)
    return path


def _too_long(path: bytes, layer: str) -> LayerError:
    return LayerError(
        f"layer {layer} has an entry with a path of {len(path)} bytes,"
        f" longer than the {PATH_MAX} that Linux can open: {show(path)}"
    )


def hidden_by_whiteout(base: bytes, layer: str) -> bytes:
    """Give the name that the whiteout `base` hides."""
    name = base[len(WHITEOUT_PREFIX) :]
    if name in (b"", b".", b".."):
        raise UnsafeLayerError(f"layer {layer} has a whiteout that names nothing: {show(base)}")
    return name


def show(name: bytes) -> str:
    """Make any bytes fit into a sentence."""
    text = repr(name[:200].decode("utf-8", "backslashreplace"))
    return text if len(name) <= 200 else text + "…"
