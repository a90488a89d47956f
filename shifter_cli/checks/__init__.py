# SPDX-License-Identifier: BSD-3-Clause
"""What `shifter-admin check` looks at: one matter a line, with what to do where it is not well.

Nothing is changed, and nothing asked that only root may do unless root asks.
"""

from __future__ import annotations

import dataclasses
import enum
from collections.abc import Mapping
from typing import Any


class State(enum.StrEnum):
    """How a matter stands."""

    OK = "ok"
    WARNING = "warning"  # works, or may work, but somebody should have a look
    WRONG = "wrong"
    SKIPPED = "skipped"  # was not looked at


@dataclasses.dataclass(frozen=True)
class Matter:
    """One thing that was looked at; `text` says how it is, why, and what to do."""

    name: str
    state: State
    text: str

    def to_json(self, group: str) -> dict[str, Any]:
        return {"group": group, "name": self.name, "state": self.state.value, "text": self.text}

    @classmethod
    def from_json(cls, row: Mapping[str, Any]) -> Matter:
        try:
            state = State(str(row.get("state")))
        except ValueError:
            state = State.WRONG
        return cls(str(row.get("name", "")), state, str(row.get("text", "")))


def ok(name: str, text: str) -> Matter:
    return Matter(name, State.OK, text)


def warning(name: str, text: str) -> Matter:
    return Matter(name, State.WARNING, text)


def wrong(name: str, text: str) -> Matter:
    return Matter(name, State.WRONG, text)


def skipped(name: str, text: str) -> Matter:
    return Matter(name, State.SKIPPED, text)


def content_of(path: str) -> str:
    """What a file says; nothing where there is none to be read."""
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            return file.read()
    except OSError:
        return ""
