# SPDX-License-Identifier: BSD-3-Clause
"""Which known word a misspelt one may mean."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

_FARTHEST = 2  # edits


def nearest_to(word: str, known: Iterable[str]) -> str | None:
    """The known word that is at most two edits away."""
    distance, nearest = min((_edits(word.lower(), other.lower()), other) for other in known)
    return nearest if distance <= _FARTHEST else None


def _edits(left: str, right: str) -> int:
    """How many characters must be added, dropped or replaced to make `right` of `left`."""
    row = list(range(len(right) + 1))
    for i, a in enumerate(left, start=1):
        diagonal, row[0] = row[0], i
        for j, b in enumerate(right, start=1):
            diagonal, row[j] = row[j], min(diagonal + (a != b), row[j] + 1, row[j - 1] + 1)
    return row[-1]
