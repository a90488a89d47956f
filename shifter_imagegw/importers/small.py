# SPDX-License-Identifier: BSD-3-Clause
"""Documents in what is imported: read whole, and refused where no document is so large."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol

from shifter_imagegw.errors import PullError


class Folder(Protocol):
    """Files by name: those of an archive, or of a directory."""

    @property
    def shown(self) -> str: ...

    def __contains__(self, name: str) -> bool: ...

    def size(self, name: str) -> int: ...

    def pieces(self, name: str) -> Iterator[bytes]: ...


def read_small(folder: Folder, name: str, limit: int) -> bytes:
    size = folder.size(name)
    if size > limit:
        raise PullError(
            f"{folder.shown} is refused: its {name[:100]!r} has {size} bytes, more than {limit}"
        )
    data = b"".join(folder.pieces(name))
    if len(data) != size:
        raise PullError(f"{folder.shown} changed while it was imported: try again")
    return data
