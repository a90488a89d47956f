# SPDX-License-Identifier: BSD-3-Clause
"""Whoever runs setupRoot or unsetupRoot must be root, and brings nothing else along."""

from __future__ import annotations

import os

from shifter_runtime import identity
from shifter_runtime.errors import NotPermittedError

_ENVIRONMENT = {"PATH": "/usr/bin:/usr/sbin:/bin:/sbin", "LC_ALL": "C"}


def require_root() -> None:
    """Refuse anybody else: for users, there is `shifter`."""
    if os.getresuid() != (0, 0, 0):
        raise NotPermittedError("must be run by root, for instance by the batch system's prolog")


def take_known_surroundings() -> None:
    """Go on as if started from nowhere: environment, directory, umask and groups of our own."""
    os.environ.clear()
    os.environ.update(_ENVIRONMENT)
    os.chdir("/")
    os.umask(0o022)
    identity.hide()


def say(program: str, text: str) -> None:
    """One line on stderr; that nobody may listen changes nothing."""
    try:
        os.write(2, f"{program}: {text}\n".encode("utf-8", "surrogateescape"))
    except OSError:
        return
