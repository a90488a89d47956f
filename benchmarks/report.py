# SPDX-License-Identifier: BSD-3-Clause
"""What was measured: a table with ratios for people, the same as JSON for programs."""

from __future__ import annotations

import dataclasses
import json
import math
import os
import platform
import statistics
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

MEBIBYTE = 1 << 20


@dataclasses.dataclass(frozen=True, kw_only=True)
class Measurement:
    """One contender: the seconds of each repetition, or a note that says why there are none."""

    name: str
    seconds: tuple[float, ...] = ()
    peak_memory: int | None = None  # bytes, of its largest process
    cpu_seconds: float | None = None  # user and system, median
    per_second: float | None = None
    note: str = ""

    @property
    def median(self) -> float | None:
        return statistics.median(self.seconds) if self.seconds else None

    def percentile(self, percent: float) -> float | None:
        """The nearest-rank percentile of `seconds`."""
        if not self.seconds:
            return None
        rank = math.ceil(len(self.seconds) * percent / 100)
        return sorted(self.seconds)[max(rank, 1) - 1]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Budget:
    """A number that must be reached: at most `limit`, or at least that."""

    text: str
    limit: float
    measured: float | None
    at_least: bool = False

    @property
    def reached(self) -> bool | None:
        """None where nothing was measured."""
        if self.measured is None:
            return None
        return self.measured >= self.limit if self.at_least else self.measured <= self.limit

    def __str__(self) -> str:
        if self.measured is None:
            return f"not measured  {self.text}"
        verdict = "reached" if self.reached else "NOT REACHED"
        sign = "≥" if self.at_least else "≤"
        return f"{verdict:13} {self.text}: {self.measured:.4g} (must be {sign} {self.limit:.4g})"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Report:
    """One run of one benchmark; ratios are to the measurement that is called `ours`."""

    title: str
    ours: str
    measurements: tuple[Measurement, ...]
    budgets: tuple[Budget, ...] = ()
    facts: dict[str, str | int | float] = dataclasses.field(default_factory=dict)

    def find(self, name: str) -> Measurement | None:
        return next((one for one in self.measurements if one.name == name), None)

    def ratio(self, name: str) -> float | None:
        """How many times longer than ours the median of `name` took."""
        ours, other = self.find(self.ours), self.find(name)
        if ours is None or other is None or ours.median is None or other.median is None:
            return None
        return other.median / ours.median

    def __str__(self) -> str:
        # The first and the last column, name and note, are always there.
        inner = [column for column in COLUMNS[1:-1] if self._has(column)]
        shown = [COLUMNS[0], *inner, COLUMNS[-1]]
        rows = [[title for title, _ in shown]]
        rows += [[cell(self, m) for _, cell in shown] for m in self.measurements]
        lines = [self.title, *(f"  {name}: {value}" for name, value in self.facts.items()), ""]
        lines += ["  " + line for line in _aligned(rows)]
        lines += ["", *(f"  {budget}" for budget in self.budgets)]
        return "\n".join(lines)

    def _has(self, column: Column) -> bool:
        return any(column[1](self, one) for one in self.measurements)

    def to_json(self) -> dict[str, Any]:
        return {
            "title": self.title,
            "machine": machine(),
            "facts": self.facts,
            "measurements": [
                dataclasses.asdict(one)
                | {"median": one.median, "p95": one.percentile(95), "ratio": self.ratio(one.name)}
                for one in self.measurements
            ],
            "budgets": [
                dataclasses.asdict(budget) | {"reached": budget.reached} for budget in self.budgets
            ],
        }

    def write(self, path: Path) -> None:
        path.write_text(json.dumps(self.to_json(), indent=2) + "\n")


def machine() -> dict[str, str | int]:
    """What a reader must know to compare two runs."""
    return {
        "kernel": platform.release(),
        "python": platform.python_version(),
        "cpus": os.cpu_count() or 0,
        "memory_mebibytes": os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // MEBIBYTE,
    }


def duration(seconds: float | None) -> str:
    """`4.02 s`, `8.31 ms`; nothing for nothing."""
    if seconds is None:
        return ""
    return f"{seconds:.2f} s" if seconds >= 1 else f"{seconds * 1000:.2f} ms"


def _aligned(rows: Sequence[Sequence[str]]) -> list[str]:
    """Names to the left, numbers to the right, notes as they are."""
    widths = [max(len(cell) for cell in column) for column in zip(*rows, strict=True)]
    lines = []
    for row in rows:
        name, *numbers, note = row
        cells = [name.ljust(widths[0])]
        cells += [cell.rjust(width) for cell, width in zip(numbers, widths[1:-1], strict=True)]
        lines.append("  ".join([*cells, note]).rstrip())
    return lines


def _memory(_: Report, one: Measurement) -> str:
    return "" if one.peak_memory is None else f"{one.peak_memory / MEBIBYTE:.0f} MiB"


def _ratio(report: Report, one: Measurement) -> str:
    ratio = report.ratio(one.name)
    return "" if ratio is None else f"{ratio:.2f}"


def _note(_: Report, one: Measurement) -> str:
    return " ".join(one.note.split())


# A column is shown where any measurement has something in it.
Column = tuple[str, Callable[[Report, Measurement], str]]
COLUMNS: tuple[Column, ...] = (
    ("", lambda _, one: one.name),
    ("median", lambda _, one: duration(one.median)),
    ("p95", lambda _, one: duration(one.percentile(95)) if len(one.seconds) >= 20 else ""),
    ("p99", lambda _, one: duration(one.percentile(99)) if len(one.seconds) >= 100 else ""),
    ("per second", lambda _, one: "" if one.per_second is None else f"{one.per_second:.0f}"),
    ("to ours", _ratio),
    ("cpu", lambda _, one: duration(one.cpu_seconds)),
    ("peak memory", _memory),
    ("runs", lambda _, one: str(len(one.seconds)) if one.seconds else ""),
    ("", _note),
)
