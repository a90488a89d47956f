# SPDX-License-Identifier: BSD-3-Clause
"""Which of a caller's logins are for a registry."""

from __future__ import annotations

from collections.abc import Mapping

from shifter_imagegw.pulling import location

_EVERYWHERE = "default"


def usable(given: Mapping[str, str], name: str, url: str) -> dict[str, str]:
    """Those for the location `name`, and for all of them; the others are no business of it.

    Who has logged in with docker names the registry by its host, not as this site does.
    """
    found = {}
    for key, login in given.items():
        if key in (name, _EVERYWHERE):
            found[key] = login
        elif location.is_registry_at(url, key):
            found.setdefault(name, login)
    if own := given.get(name):
        found[name] = own
    return found


def best(given: Mapping[str, str], name: str, url: str) -> str | None:
    """The one to show at a location."""
    found = usable(given, name, url)
    return found.get(name) or found.get(_EVERYWHERE)
