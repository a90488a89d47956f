# SPDX-License-Identifier: BSD-3-Clause
"""What the doctor says: each thing that was looked at, how it is, what to do about it."""

from __future__ import annotations

import dataclasses
import enum
from collections.abc import Iterable


class Level(enum.Enum):
    """How much a finding matters."""

    OK = "ok"
    NOTE = "note"  # a launch works, but perhaps not as meant
    PROBLEM = "problem"  # a launch fails


@dataclasses.dataclass(frozen=True)
class Observation:
    """One thing that was looked at; `advice` says what to do."""

    level: Level
    subject: str
    text: str
    advice: str = ""

    def to_json(self) -> dict[str, str | None]:
        return {
            "level": self.level.value,
            "subject": self.subject,
            "text": self.text,
            "advice": self.advice or None,
        }


def ok(subject: str, text: str) -> Observation:
    return Observation(Level.OK, subject, text)


def note(subject: str, text: str, advice: str = "") -> Observation:
    return Observation(Level.NOTE, subject, text, advice)


def problem(subject: str, text: str, advice: str = "") -> Observation:
    return Observation(Level.PROBLEM, subject, text, advice)


def count(findings: Iterable[Observation], level: Level) -> int:
    return sum(finding.level is level for finding in findings)
