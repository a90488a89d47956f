# SPDX-License-Identifier: BSD-3-Clause
"""Who sent a request: an `authentication` header in, a proven caller out."""

from __future__ import annotations

import dataclasses
import functools
import json
from collections.abc import Mapping

from shifter_common import munge
from shifter_common.errors import MungeError
from shifter_imagegw.config import Authentication, GatewayConfig, GroupSource, SystemConfig
from shifter_imagegw.errors import AuthenticationUnavailableError, NotAuthenticatedError
from shifter_imagegw.rules import accounts

_NOBODY = 65534


@dataclasses.dataclass(frozen=True, kw_only=True)
class Caller:
    """Whoever sent a request, as munge proved it.

    Names and further groups are looked up on the gateway, when a rule first asks for them: most
    requests need none of these.
    """

    uid: int
    gid: int
    known_name: str | None = None  # where it needs no looking up
    groups_from: GroupSource = GroupSource.GATEWAY
    credentials: Mapping[str, str] = dataclasses.field(default_factory=dict, repr=False)

    @functools.cached_property
    def name(self) -> str | None:
        """The user name, None where the gateway knows no such user."""
        return accounts.name_of(self.uid) if self.known_name is None else self.known_name

    @functools.cached_property
    def groups(self) -> frozenset[int]:
        """The gids of the groups that the caller is in.

        A credential proves one group, the first. Where the gateway's host does not know the
        system's users, its groups of the same names may be other people's, so the site can have it
        look no further.
        """
        if self.groups_from is GroupSource.CREDENTIAL or self.name is None:
            return frozenset({self.gid})
        return accounts.groups_of(self.name, self.gid)


class Authenticator:
    """Turns the header of a request into its caller, as the configuration says."""

    def __init__(self, config: GatewayConfig) -> None:
        self._mock = config.authentication is Authentication.MOCK
        self._allow_anonymous = config.allow_anonymous

    def caller(self, header: str | None, system: SystemConfig) -> Caller:
        """The caller of a request; `NotAuthenticatedError` says why there is none."""
        if not header:
            raise NotAuthenticatedError(
                "the request has no 'authentication' header: it must hold a munge credential"
            )
        caller = _mock_caller(header) if self._mock else _munge_caller(header, system)
        return dataclasses.replace(caller, groups_from=system.groups_from)

    def caller_if_any(self, header: str | None, system: SystemConfig) -> Caller | None:
        """The same for what the site may have opened to everybody: None is an anonymous caller."""
        if not header and self._allow_anonymous:
            return None
        return self.caller(header, system)


def _munge_caller(header: str, system: SystemConfig) -> Caller:
    if "," in header:  # how a server joins headers of one name; munge reads no further than this
        raise NotAuthenticatedError(
            "munge refused the credential: it is not alone: send one 'authentication' header"
        )
    socket = None if system.munge_socket is None else str(system.munge_socket)
    try:
        credential = munge.decode(header.strip(), socket=socket)
    except MungeError as error:
        if error.code in (munge.SOCKET, munge.TIMEOUT):
            raise AuthenticationUnavailableError(str(error)) from error
        raise NotAuthenticatedError(str(error)) from error
    return Caller(
        uid=credential.uid,
        gid=credential.gid,
        credentials=_authorized_locations(credential.payload),
    )


def _authorized_locations(payload: bytes) -> dict[str, str]:
    """`{location: "user:password"}` of a payload; anything else in it is nobody's business."""
    if not payload:
        return {}
    try:
        content = json.loads(payload)
    except (ValueError, RecursionError):
        return {}
    locations = content.get("authorized_locations") if isinstance(content, dict) else None
    if not isinstance(locations, dict):
        return {}
    return {name: text for name, text in locations.items() if isinstance(text, str) and text}


def _mock_caller(header: str) -> Caller:
    """`good:user:group[:token][:uid:gid]`, which anybody can write: for tests."""
    fields = header.split(":")
    if fields[0] != "good" or len(fields) not in (3, 4, 6):
        raise NotAuthenticatedError(
            "the mock credential is not of the form good:user:group[:token][:uid:gid]"
        )
    user, group = fields[1:3]
    if len(fields) < 6:
        return Caller(
            uid=_or_nobody(accounts.uid_of(user)),
            gid=_or_nobody(accounts.gid_of(group)),
            known_name=user,
        )
    try:
        uid, gid = int(fields[4]), int(fields[5])
    except ValueError:
        raise NotAuthenticatedError("uid and gid of the mock credential are no numbers") from None
    return Caller(uid=uid, gid=gid, known_name=user)


def _or_nobody(number: int | None) -> int:
    return _NOBODY if number is None else number
