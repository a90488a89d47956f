# SPDX-License-Identifier: BSD-3-Clause
"""Every registry login that there is, as people and programs read it; never a password."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable

from shifter_cli import output
from shifter_cli.logins import known
from shifter_cli.logins.known import KnownLogin
from shifter_cli.session import Session


def rows(session: Session) -> list[KnownLogin]:
    """The logins, in the order in which they are used."""
    own = [
        KnownLogin(location, login.partition(":")[0], "~/.udiRoot/.cred")
        for location, login in sorted(session.stored_logins.items())
    ]
    return [*own, *known.listing(output.complain)]


def lines(logins: Iterable[KnownLogin]) -> list[str]:
    """A line each: registry, user, where it is."""
    texts = [(one.registry, one.user or "-", one.source, one.note) for one in logins]
    registry, user = (max(len(text[column]) for text in texts) for column in (0, 1))
    return [
        output.printable(
            f"{one[0]:<{registry}}  {one[1]:<{user}}  {one[2]}{one[3] and f' ({one[3]})'}"
        )
        for one in texts
    ]


def to_json(login: KnownLogin) -> dict[str, str | None]:
    return dataclasses.asdict(login)
