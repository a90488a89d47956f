# SPDX-License-Identifier: BSD-3-Clause
"""Registry credentials of callers, sealed while they wait in the catalog for their pull.

The embedded gateway's key lives in the memory of its processes and nowhere else: the supervisor
makes it and its children inherit it, so after a restart what an older key has sealed cannot be
opened. Where API and workers are started apart, the site gives them one key (`KeyFile`, or
$SHIFTER_GATEWAY_KEY); without it such pulls are refused, for nothing is ever stored unsealed.
"""

from __future__ import annotations

import base64
import json
import os
import stat
from collections.abc import Mapping
from pathlib import Path

from cryptography.fernet import Fernet, InvalidToken
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from shifter_imagegw.config import GatewayConfig
from shifter_imagegw.errors import ConfigError, PullError

KEY_VARIABLE = "SHIFTER_GATEWAY_KEY"

_LONGEST_KEY = 4096  # bytes
_NO_KEY = (
    "this gateway has no key to keep registry logins with until their pull: its administrator must "
    f"set KeyFile in imagemanager.json, or {KEY_VARIABLE}, for its API and workers alike "
    "('shifter-gateway key' makes a key)"
)
_LOST = "the registry credentials of this pull were lost when the gateway restarted: pull again"
_OTHER_KEY = (
    "the registry credentials of this pull were sealed with another key than the worker's: pull "
    "again, and if that does not help, give the gateway's API and workers the same KeyFile"
)


def new_key() -> str:
    """A random key for `Sealer`."""
    return Fernet.generate_key().decode("ascii")


class Sealer:
    """Seals and opens `{location: "user:password"}`; without a key it says so instead."""

    __slots__ = ("_fernet", "_key", "_reason")

    def __init__(self, key: str | None, *, reason: str = _LOST) -> None:
        """`reason` is what a user reads whose credentials another key has sealed."""
        self._fernet = None if key is None else Fernet(key)
        self._key = key
        self._reason = reason

    def seal(self, credentials: Mapping[str, str]) -> str:
        if self._fernet is None:
            raise ConfigError(_NO_KEY)
        content = json.dumps(dict(credentials)).encode()
        return self._fernet.encrypt(content).decode("ascii")

    def key_for(self, purpose: str) -> bytes | None:
        """A key that follows from this one, and from which this one does not; None without any."""
        if self._key is None:
            return None
        derived = HKDF(algorithm=hashes.SHA256(), length=32, salt=None, info=purpose.encode())
        return base64.urlsafe_b64encode(derived.derive(self._key.encode()))

    def unseal(self, sealed: str) -> dict[str, str]:
        """Open what `seal` has made; `PullError` where another key has sealed it."""
        if self._fernet is None:
            raise PullError(_NO_KEY)
        try:
            content = self._fernet.decrypt(sealed)
        except InvalidToken:
            raise PullError(self._reason) from None
        credentials: dict[str, str] = json.loads(content)
        return credentials


def sealer_of(config: GatewayConfig, environment: Mapping[str, str]) -> Sealer:
    """With the key that the site gives to each of its processes, or none."""
    key = environment.get(KEY_VARIABLE)
    if key:
        return _sealer_with(key, KEY_VARIABLE)
    if config.key_file is not None:
        return _sealer_with(_read(config.key_file), f"KeyFile {os.fspath(config.key_file)!r}")
    return Sealer(None)


def embedded_sealer_of(config: GatewayConfig, environment: Mapping[str, str]) -> Sealer:
    """The same, or with a key of this start's own, which children inherit."""
    if environment.get(KEY_VARIABLE) or config.key_file is not None:
        return sealer_of(config, environment)
    return Sealer(new_key())


def _sealer_with(key: str, place: str) -> Sealer:
    try:
        return Sealer(key.strip(), reason=_OTHER_KEY)
    except ValueError:
        # Its text may quote the key.
        raise ConfigError(
            f"{place} holds no key: put one there that 'shifter-gateway key' has made"
        ) from None


def _read(path: Path) -> str:
    """The text of a file that nobody else can read or change."""
    name = f"KeyFile {os.fspath(path)!r}"
    try:
        # Without waiting, should it be a pipe.
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except FileNotFoundError:
        raise ConfigError(
            f"{name} is not there: 'shifter-gateway key --write {os.fspath(path)}' makes one, "
            "which the gateway's account must own"
        ) from None
    except OSError as error:
        raise ConfigError(
            f"cannot read {name}: {error.strerror}; the gateway's account must own it"
        ) from error
    with open(descriptor, "rb") as file:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            raise ConfigError(f"{name} is not a regular file")
        if status.st_uid not in (0, os.geteuid()):
            raise ConfigError(
                f"{name} belongs to user {status.st_uid}: it must belong to the gateway's account "
                "or to root"
            )
        if status.st_mode & 0o077:
            raise ConfigError(f"{name} can be read or changed by others: chmod 600 it")
        return file.read(_LONGEST_KEY).decode("ascii", errors="replace")
