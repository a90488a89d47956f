# SPDX-License-Identifier: BSD-3-Clause
"""How often a user may have a login tried: nobody guesses passwords through the gateway."""

from __future__ import annotations

import contextlib
import secrets
from collections.abc import Callable, Iterator
from datetime import timedelta

from shifter_imagegw.catalog import Catalog
from shifter_imagegw.errors import TooManyLoginsError
from shifter_imagegw.rules.auth import Caller

MOST_FAILURES = 5
_REMEMBERED = timedelta(minutes=1)


class LoginTries:
    """A user has a few turns; one is taken by each try, and given back where it succeeds.

    The catalog keeps them, so that it makes no difference which process is asked.
    """

    def __init__(self, catalog: Catalog, clock: Callable[[], float]) -> None:
        self._catalog = catalog
        self._clock = clock

    @contextlib.contextmanager
    def one(self, caller: Caller) -> Iterator[None]:
        """Try a login in the body; what is raised there is a failure."""
        holder = secrets.token_hex(8)
        turn = self._take(caller, holder)
        yield
        self._catalog.elect(turn, holder, timedelta(0), self._clock())

    def _take(self, caller: Caller, holder: str) -> str:
        for number in range(MOST_FAILURES):
            turn = f"login:{caller.uid}:{number}"
            if self._catalog.elect(turn, holder, _REMEMBERED, self._clock()):
                return turn
        raise TooManyLoginsError(
            f"{MOST_FAILURES} logins of yours have failed within a minute: wait for a minute, and "
            "check the name and the password"
        )
