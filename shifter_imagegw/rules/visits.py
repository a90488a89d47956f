# SPDX-License-Identifier: BSD-3-Clause
"""Who looks at the web page: nobody we know, or who came by a link of `shifterimg web`.

Munge proves who asks for a link. The link's ticket lets one browser in, once and soon; what that
browser then keeps proves for some hours who it is, unless its user ends that before. Both are
bound to one system, as the credential was: users of another may have the same numbers.
"""

from __future__ import annotations

import dataclasses
import logging
import secrets
import time
from collections.abc import Callable, Mapping
from datetime import timedelta
from typing import Any

from shifter_imagegw.catalog import Catalog
from shifter_imagegw.config import GatewayConfig, SystemConfig
from shifter_imagegw.credentials import Sealer
from shifter_imagegw.errors import ConfigError, GatewayError, NotPermittedError
from shifter_imagegw.rules.auth import Caller
from shifter_imagegw.tokens import Tokens

log = logging.getLogger(__name__)

TICKET_FOR = timedelta(minutes=2)
SESSION_FOR = timedelta(hours=8)

_NO_KEY = (
    "this gateway has no key to let browsers in with: its administrator must set KeyFile in "
    "imagemanager.json ('shifter-gateway key --write FILE' makes one)"
)


class PageOffError(GatewayError):
    """The site wants no web page."""

    status = 404


@dataclasses.dataclass(frozen=True, kw_only=True)
class Ticket:
    """What lets one browser in, until `expires` (seconds since the epoch)."""

    text: str
    expires: float


@dataclasses.dataclass(frozen=True, kw_only=True)
class Visit:
    """A browser of somebody's; `caller` None: of anybody's."""

    system: SystemConfig
    caller: Caller | None
    leaving_word: str = ""  # proves that it is the page that asks to end the visit


class Visits:
    """Lets browsers in and knows them again, in whichever process they ask."""

    def __init__(
        self,
        config: GatewayConfig,
        catalog: Catalog,
        sealer: Sealer,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._config = config
        self._catalog = catalog
        self._clock = clock
        self._tickets = _tokens(sealer, "tickets of the web page")
        self._sessions = _tokens(sealer, "sessions of the web page")

    def invite(self, system: SystemConfig, caller: Caller) -> Ticket:
        """A ticket for `caller`, whom munge has proved."""
        if not self._config.web_page:
            raise PageOffError(
                "this gateway has no web page: WebPage is false in its imagemanager.json"
            )
        if self._tickets is None:
            raise ConfigError(_NO_KEY)
        now = self._clock()
        # As short as may be: people see it in their terminals.
        content = {
            "id": secrets.token_hex(8),
            "system": system.name,
            "uid": caller.uid,
            "gid": caller.gid,
        }
        if caller.known_name is not None:
            content["name"] = caller.known_name
        log.info("browser invited system=%s uid=%d", system.name, caller.uid)
        return Ticket(
            text=self._tickets.write(content, now), expires=now + TICKET_FOR.total_seconds()
        )

    def invited(self, system: SystemConfig, ticket: str) -> Caller:
        """Whom a ticket would let in; to look at it does not use it."""
        now = self._clock()
        content = self._read(system, ticket, now)
        if self._catalog.is_taken(_use_of(content), now):
            raise _used_before()
        return _caller(system, content)

    def enter(self, system: SystemConfig, ticket: str) -> str:
        """What a browser shows from now on, for a ticket that nobody has used before."""
        now = self._clock()
        content = self._read(system, ticket, now)
        if self._sessions is None:
            raise ConfigError(_NO_KEY)
        # Whoever has the role first is the one to use the ticket, whichever process that asks.
        if not self._catalog.elect(_use_of(content), secrets.token_hex(8), 2 * TICKET_FOR, now):
            raise _used_before()
        log.info("browser let in system=%s uid=%d", system.name, content["uid"])
        return self._sessions.write(content | {"id": secrets.token_hex(16)}, now)

    def of(self, system: SystemConfig, session: str | None) -> Visit:
        """The visit of a browser that shows `session`; of nobody's where that proves nothing."""
        if session is None or self._sessions is None:
            return Visit(system=system, caller=None)
        now = self._clock()
        content = self._sessions.read(session, SESSION_FOR, now)
        if content is None or content["system"] != system.name:
            return Visit(system=system, caller=None)
        if self._catalog.is_taken(_end_of(content["id"]), now):
            return Visit(system=system, caller=None)
        return Visit(system=system, caller=_caller(system, content), leaving_word=content["id"])

    def end(self, visit: Visit) -> None:
        """Let what the visit's browser shows prove nothing any more, wherever a copy of it is."""
        if visit.caller is None:
            return
        # Forgotten by the catalog once the session would have ended by itself.
        end = _end_of(visit.leaving_word)
        self._catalog.elect(end, "ended", SESSION_FOR, self._clock())
        log.info("browser let out system=%s uid=%d", visit.system.name, visit.caller.uid)

    def may_look(self, visit: Visit) -> bool:
        """Whether anything is shown; what, the rules for each image and job say."""
        return visit.caller is not None or self._config.allow_anonymous

    def _read(self, system: SystemConfig, ticket: str, now: float) -> dict[str, Any]:
        content = self._tickets and self._tickets.read(ticket, TICKET_FOR, now)
        if not content or content["system"] != system.name:
            raise NotPermittedError(
                "this link is not valid, or no longer: links work for two minutes, so run "
                "'shifterimg web' again"
            )
        return content


def _caller(system: SystemConfig, content: Mapping[str, Any]) -> Caller:
    return Caller(
        uid=content["uid"],
        gid=content["gid"],
        known_name=content.get("name"),
        groups_from=system.groups_from,
    )


def _use_of(ticket: Mapping[str, Any]) -> str:
    """The role of who uses it."""
    return f"ticket {ticket['id']}"


def _end_of(session: str) -> str:
    """The role that somebody has once a session has ended before its time."""
    return f"ended {session}"


def _used_before() -> NotPermittedError:
    return NotPermittedError(
        "this link has been used before, and works only once: run 'shifterimg web' again"
    )


def _tokens(sealer: Sealer, purpose: str) -> Tokens | None:
    key = sealer.key_for(purpose)
    return None if key is None else Tokens(key)
