# SPDX-License-Identifier: BSD-3-Clause
"""What the commands of one invocation share: its options, the site's configuration, the gateway."""

from __future__ import annotations

import functools
import os
from typing import TYPE_CHECKING

from shifter_cli import output
from shifter_cli.access import AccessLists
from shifter_cli.errors import (
    CredentialFileError,
    GatewayRefusalError,
    GatewayUnreachableError,
)
from shifter_cli.logins.credentials import CredentialFile
from shifter_common import munge
from shifter_common.errors import MungeError, ShifterError
from shifter_common.reference import ImageReference

# Each module costs every launch by name its milliseconds: those that not all commands need are
# imported where they are used.
if TYPE_CHECKING:
    from shifter_cli.gateway.client import GatewayClient
    from shifter_runtime.config import RuntimeConfig


class Session:
    """One invocation of shifterimg by one user."""

    def __init__(self, config_path: str) -> None:
        self.config_path = config_path
        self.verbose = False
        self.as_json = False
        self.patience = 0.0  # seconds for each answer of a gateway's; 0: what udiRoot.conf says
        self.users: list[str] = []
        self.groups: list[str] = []
        self._others: dict[str, tuple[str, str] | None] = {}  # what docker has, by tag
        self._said: set[str] = set()

    @functools.cached_property
    def config(self) -> RuntimeConfig:
        from shifter_runtime import config

        loaded = config.load(self.config_path)
        if self.verbose:
            output.complain("\n".join(loaded.warnings))
        return loaded

    @functools.cached_property
    def gateway(self) -> GatewayClient:
        from shifter_cli.gateway.client import GatewayClient

        return GatewayClient(
            self.config.image_gateway,
            self.config.system,
            encode=self.encode,
            timeout=self.patience or self.config.gateway_timeout,
            logins=self._logins_for,
            watch=output.show_answer if self.verbose and not self.as_json else lambda _: None,
        )

    def encode(self, payload: bytes) -> str:
        """A munge credential of the calling user."""
        return munge.encode(payload, socket=self.config.munge_socket or None)

    def reference(self, text: str) -> ImageReference:
        return ImageReference.parse(text, self.config.default_image_type)

    def access_lists(self) -> AccessLists:
        return AccessLists.parse(self.users, self.groups)

    def _logins_for(self, reference: ImageReference) -> dict[str, str]:
        """`user:password` by location: all that are stored here, and the one that docker has.

        Of docker's, only the login at the image's own registry. What is stored here goes first,
        also a login for all locations, where the image names none.
        """
        from shifter_cli.logins import hosts

        logins = self.stored_logins
        host = hosts.scopes_of(hosts.repository_of(reference.tag))[-1]
        if host in logins or ("default" in logins and not hosts.is_hosted(reference.tag)):
            return logins
        if reference.tag not in self._others:
            from shifter_cli.logins import known

            self._others[reference.tag] = known.login_for(reference.tag, self._complain_once)
        found = self._others[reference.tag]
        return logins | dict([found]) if found else logins

    @functools.cached_property
    def stored_logins(self) -> dict[str, str]:
        """Those of ~/.udiRoot/.cred; one that cannot be used is said, and left out."""
        try:
            stored = CredentialFile.of_caller().locations(self.config.system)
        except CredentialFileError as error:
            self.complain(f"your registry logins are not used: {error}")
            return {}
        logins = {}
        for location, credential in stored.items():
            try:
                logins[location] = self._opened(credential)
            except (MungeError, CredentialFileError) as error:
                self.complain(
                    f"your login for {location} is not used: {error}; shifterimg login {location} "
                    "renews it"
                )
        return logins

    def complain(self, text: str) -> None:
        """Tell the user what goes on without."""
        output.complain(text)

    def _complain_once(self, text: str) -> None:
        if text not in self._said:
            self._said.add(text)
            self.complain(text)

    def _opened(self, credential: str) -> str:
        opened = munge.decode(credential, socket=self.config.munge_socket or None, allow_stale=True)
        if opened.uid != os.getuid():
            raise CredentialFileError(f"it was made by user {opened.uid}")
        return opened.payload.decode("utf-8", "surrogateescape")


def is_no_answer(error: ShifterError) -> bool:
    """Whether nothing was said about an image, because a gateway, or munge, does not answer."""
    if isinstance(error, GatewayRefusalError):
        return error.status >= 500
    if isinstance(error, MungeError):
        return error.code in (munge.SOCKET, munge.TIMEOUT)
    return isinstance(error, GatewayUnreachableError)
