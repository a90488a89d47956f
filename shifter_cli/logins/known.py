# SPDX-License-Identifier: BSD-3-Clause
"""All files that may hold a user's registry logins, and the one login that an image needs."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Callable, Iterator, Mapping

from shifter_cli.errors import CredentialHelperError, LoginFileError
from shifter_cli.logins import config_file, helper, hosts
from shifter_cli.logins.config_file import Entry

Complain = Callable[[str], None]


@dataclasses.dataclass(frozen=True)
class KnownLogin:
    """A login that may be used, and where it is; never the password."""

    registry: str
    user: str | None  # None: only the helper could tell, and did not
    source: str
    note: str = ""


def files(environment: Mapping[str, str] | None = None) -> list[str]:
    """Where logins may be, the first to be asked first: docker's file, then podman's."""
    env = os.environ if environment is None else environment
    home = env.get("HOME") or os.path.expanduser("~")
    candidates = [
        os.path.join(env.get("DOCKER_CONFIG") or os.path.join(home, ".docker"), "config.json"),
        env.get("REGISTRY_AUTH_FILE", ""),
        _below(env.get("XDG_RUNTIME_DIR", ""), "containers/auth.json"),
        _below(env.get("XDG_CONFIG_HOME") or os.path.join(home, ".config"), "containers/auth.json"),
    ]
    return list(dict.fromkeys(path for path in candidates if path.startswith("/")))


def login_for(tag: str, complain: Complain) -> tuple[str, str] | None:
    """The registry of an image, and the user's login there; what is no use is told, and skipped."""
    scopes = hosts.scopes_of(hosts.repository_of(tag))
    for path in files():
        for entry in _fitting(path, scopes, complain):
            login = _login_of(entry, path, complain)
            if login:
                return scopes[-1], login
    return None


def listing(complain: Complain) -> list[KnownLogin]:
    """Every login that the files know of."""
    found = []
    users: dict[str, Mapping[str, str]] = {}
    for path in files():
        for entry in _entries(path, complain).values():
            source, user = path, entry.user or None
            if entry.helper:
                source = f"docker-credential-{entry.helper} ({path})"
                if entry.helper not in users:
                    users[entry.helper] = _users_of(entry.helper, complain)
                user = users[entry.helper].get(entry.key) or user
            note = "identity token: cannot be used" if entry.is_identity_token else ""
            found.append(KnownLogin(entry.scope, user, source, note))
    return found


def _fitting(path: str, scopes: list[str], complain: Complain) -> Iterator[Entry]:
    entries = _entries(path, complain)
    return (entries[scope] for scope in scopes if scope in entries)


def _entries(path: str, complain: Complain) -> dict[str, Entry]:
    try:
        return config_file.read(path)
    except LoginFileError as error:
        complain(f"registry logins there are not used: {error}")
        return {}


def _login_of(entry: Entry, path: str, complain: Complain) -> str | None:
    if entry.helper:
        try:
            login = helper.login_of(entry.helper, entry.key)
        except CredentialHelperError as error:
            complain(f"a login named in {path} is not used: {error}")
        else:
            if login:
                return login
    if entry.is_identity_token:
        complain(
            f"your login for {entry.scope} in {path} is not used: identity tokens are not "
            f"supported; shifterimg login {entry.scope} asks for name and password"
        )
    return entry.login or None


def _users_of(name: str, complain: Complain) -> Mapping[str, str]:
    try:
        return helper.users_of(name)
    except CredentialHelperError as error:
        complain(str(error))
        return {}


def _below(directory: str, path: str) -> str:
    return os.path.join(directory, path) if directory else ""
