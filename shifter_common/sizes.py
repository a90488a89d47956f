# SPDX-License-Identifier: BSD-3-Clause
"""Sizes as people read them, in a terminal as on the web page."""

from __future__ import annotations


def bytes_text(count: float) -> str:
    """Decimal units, as registries and disks are sold: 1 MB is 1,000,000 bytes."""
    if count < 1000:
        return f"{count:.0f} B"
    for unit in ("kB", "MB", "GB"):
        count /= 1000
        if count < 999.95:
            return f"{count:.1f} {unit}"
    return f"{count / 1000:.1f} TB"
