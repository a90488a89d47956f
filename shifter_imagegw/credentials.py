# SPDX-License-Identifier: BSD-3-Clause
"""Registry credentials of callers, sealed while they wait in the catalog for their pull.

The key lives in the memory of the gateway's processes and nowhere else: the supervisor makes it
and its children inherit it. After a restart what an older key has sealed cannot be opened.
"""

from __future__ import annotations

import json
from collections.abc import Mapping

from cryptography.fernet import Fernet, InvalidToken

from shifter_imagegw.errors import PullError

KEY_VARIABLE = "SHIFTER_GATEWAY_KEY"


def new_key() -> str:
    """A random key for `Sealer`."""
    return Fernet.generate_key().decode("ascii")


class Sealer:
    """Seals and opens `{location: "user:password"}`."""

    __slots__ = ("_fernet",)

    def __init__(self, key: str) -> None:
        self._fernet = Fernet(key)

    def seal(self, credentials: Mapping[str, str]) -> str:
        content = json.dumps(dict(credentials)).encode()
        return self._fernet.encrypt(content).decode("ascii")

    def unseal(self, sealed: str) -> dict[str, str]:
        """Open what `seal` has made; `PullError` where another key has sealed it."""
        try:
            content = self._fernet.decrypt(sealed)
        except InvalidToken:
            raise PullError(
                "the registry credentials of this pull were lost when the gateway restarted: "
                "pull again"
            ) from None
        credentials: dict[str, str] = json.loads(content)
        return credentials
