# SPDX-License-Identifier: BSD-3-Clause
"""The file in which docker and podman keep logins, or say which helper has them."""

from __future__ import annotations

import base64
import binascii
import dataclasses
import json
import os
import stat
from collections.abc import Mapping

from shifter_cli.errors import LoginFileError
from shifter_cli.logins import hosts

_LARGEST_FILE = 1 << 20  # bytes
_ROOT = 0
IDENTITY_TOKEN = "<token>"  # what helpers call the user of one


@dataclasses.dataclass(frozen=True)
class Entry:
    """One registry, or namespace of one, of which the file knows something."""

    scope: str  # as `hosts.of_key` makes it
    key: str  # as it stands in the file: a helper knows the login by that
    login: str = dataclasses.field(default="", repr=False)  # `user:password`, if it is here
    helper: str = ""  # the credential helper that has it
    is_identity_token: bool = False

    @property
    def user(self) -> str:
        return self.login.partition(":")[0]


def read(path: str) -> dict[str, Entry]:
    """The entries of a file by scope; none where there is no such file."""
    text = _read_text(path)
    if text is None:
        return {}
    try:
        content = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise LoginFileError(f"{path} is not JSON: {error}") from error
    if not isinstance(content, dict):
        raise LoginFileError(f"{path} holds no JSON object")
    store = _text(content.get("credsStore"))
    found = {}
    for key, value in _mapping(content.get("auths")).items():
        entry = _entry(key, _mapping(value), store)
        if entry is not None:
            found[entry.scope] = entry
    for key, helper in _mapping(content.get("credHelpers")).items():
        scope = hosts.of_key(key)
        known = found.get(scope)
        if _text(helper):
            found[scope] = Entry(scope, key, known.login if known else "", _text(helper))
    return found


def _entry(key: str, value: Mapping[str, object], store: str) -> Entry | None:
    login = _login(value)
    is_token = not login and bool(_text(value.get("identitytoken")))
    if not login and not is_token and not store:
        return None
    return Entry(hosts.of_key(key), key, login, store, is_token)


def _login(value: Mapping[str, object]) -> str:
    user, password = _text(value.get("username")), _text(value.get("password"))
    if user and password:
        return f"{user}:{password}"
    try:
        login = base64.b64decode(_text(value.get("auth"))).decode().rstrip("\0")
    except (binascii.Error, ValueError):
        return ""
    user, _, password = login.partition(":")
    return login if user and password and user != IDENTITY_TOKEN else ""


def _read_text(path: str) -> str | None:
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        if not os.path.lexists(path):  # below another user's home, as `sudo -u` may leave it
            return None
        raise LoginFileError(f"cannot read {path}: {error.strerror}") from error
    with open(descriptor, encoding="utf-8", errors="surrogateescape") as file:
        status = os.fstat(file.fileno())
        if not stat.S_ISREG(status.st_mode):
            raise LoginFileError(f"{path} is not a regular file")
        if status.st_uid not in (_ROOT, os.getuid()):
            # It names programs that are run.
            raise LoginFileError(f"{path} belongs to user {status.st_uid}, not to you")
        text = file.read(_LARGEST_FILE + 1)
    if len(text) > _LARGEST_FILE:
        raise LoginFileError(f"{path} is larger than {_LARGEST_FILE >> 20} MiB")
    return text


def _mapping(value: object) -> Mapping[str, object]:
    return value if isinstance(value, dict) else {}


def _text(value: object) -> str:
    return value if isinstance(value, str) else ""
