# SPDX-License-Identifier: BSD-3-Clause
"""Short texts that a browser keeps for the gateway, and can neither read nor change."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import timedelta
from typing import Any

from cryptography.fernet import Fernet, InvalidToken

_LONGEST = 4096  # characters; what a browser keeps as one cookie


class Tokens:
    """Writes and reads texts of one purpose; processes with the same key read each other's."""

    __slots__ = ("_fernet",)

    def __init__(self, key: bytes) -> None:
        self._fernet = Fernet(key)

    def write(self, content: Mapping[str, Any], now: float) -> str:
        text = json.dumps(dict(content), separators=(",", ":")).encode()
        token = self._fernet.encrypt_at_time(text, int(now)).decode("ascii")
        return token.rstrip("=")  # which would be %3D in a link

    def read(self, text: str, longest: timedelta, now: float) -> dict[str, Any] | None:
        """What `write` was given, unless somebody else wrote this, or longer ago than that."""
        if len(text) > _LONGEST or not text.isascii():
            return None
        try:
            content = self._fernet.decrypt_at_time(
                f"{text}{'=' * (-len(text) % 4)}".encode("ascii"),
                int(longest.total_seconds()),
                int(now),
            )
        except InvalidToken:
            return None
        found: dict[str, Any] = json.loads(content)
        return found
