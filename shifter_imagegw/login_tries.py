# SPDX-License-Identifier: BSD-3-Clause
"""How often a user may have a login tried: nobody guesses passwords through the gateway."""

from __future__ import annotations

import contextlib
import logging
import secrets
from collections.abc import Callable, Iterator
from datetime import timedelta

from shifter_imagegw.catalog import Catalog
from shifter_imagegw.errors import TooManyLoginsError

log = logging.getLogger(__name__)

MOST_FAILURES = 5
_REMEMBERED = timedelta(minutes=1)
_NOT_AT_ALL = timedelta(0)


class LoginTries:
    """A user has a few turns, and each login that a registry refuses takes one for a minute.

    The catalog keeps them, so that it makes no difference which process is asked, API or worker.
    """

    def __init__(self, catalog: Catalog, clock: Callable[[], float]) -> None:
        self._catalog = catalog
        self._clock = clock

    @contextlib.contextmanager
    def one(self, uid: int) -> Iterator[None]:
        """Try a login in the body; what is raised there is a failure."""
        holder = secrets.token_hex(8)
        turn = self._take(uid, holder, _REMEMBERED)
        yield
        self._catalog.elect(turn, holder, _NOT_AT_ALL, self._clock())

    def require_turn(self, uid: int) -> None:
        """Raise `TooManyLoginsError` where all turns are taken."""
        self._take(uid, secrets.token_hex(8), _NOT_AT_ALL)

    def note_refusal(self, uid: int) -> None:
        with contextlib.suppress(TooManyLoginsError):
            self._take(uid, secrets.token_hex(8), _REMEMBERED)
        log.info("login refused by a registry uid=%d", uid)

    def watch(self, uid: int) -> LoginWatch:
        """What a registry's client is to ask and tell when it shows a login of this user's."""
        return LoginWatch(self, uid)

    def _take(self, uid: int, holder: str, duration: timedelta) -> str:
        for number in range(MOST_FAILURES):
            turn = f"login:{uid}:{number}"
            if self._catalog.elect(turn, holder, duration, self._clock()):
                return turn
        raise TooManyLoginsError(
            f"{MOST_FAILURES} logins of yours have failed within a minute: wait for a minute, and "
            "check the name and the password"
        )


class LoginWatch:
    """Counts what registries refuse while images and tags are read with a user's login.

    Those that are shown at the very same time do not see each other: a user may have a few more
    tried than allowed, as many as the gateway asks registries at once.
    """

    def __init__(self, tries: LoginTries, uid: int) -> None:
        self._tries = tries
        self._uid = uid

    def before(self) -> None:
        self._tries.require_turn(self._uid)

    def refused(self) -> None:
        self._tries.note_refusal(self._uid)
