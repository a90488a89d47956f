# SPDX-License-Identifier: BSD-3-Clause
"""The history of usage as drawings: numbers by day in, shapes of SVG out.

All words stay outside of the drawing, which is stretched to the width that there is.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Mapping, Sequence
from datetime import date
from typing import Any

from shifter_imagegw.web import words

HEIGHT = 100  # of the drawing, in its own units
STEP = 10  # from one day to the next
_BAR = 7
_FEW = 10
_ROUND = (1, 2, 2.5, 5, 10)
_ROUND_SIZES = (1, 2, 4, 6, 8, 10)  # half of each is written with one digit
_LEAST_SIZE = 1000.0

Day = Mapping[str, Any]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Bar:
    """A rectangle of one day."""

    x: int
    y: float
    width: int
    height: float


@dataclasses.dataclass(frozen=True, kw_only=True)
class Series:
    """One of the things that are drawn, as a line with what is below it, or as bars."""

    name: str
    kind: str  # names its colour
    line: str = ""  # the points of a polyline
    area: str = ""  # those of the polygon below it
    bars: tuple[Bar, ...] = ()


@dataclasses.dataclass(frozen=True, kw_only=True)
class Chart:
    """A drawing, and the words around it."""

    key: str
    title: str
    figure: str  # the number that says most
    note: str
    top: str  # what its upper edge stands for
    middle: str
    width: int
    series: tuple[Series, ...]
    days: tuple[tuple[int, str], ...]  # where each begins, and what is said of it

    @property
    def summary(self) -> str:
        """What who cannot see it is told of it."""
        return f"{self.title}: {self.figure}, {self.note}"


def charts_of(days: Sequence[Day]) -> list[Chart]:
    span = f"in {len(days)} days"
    pulls, failures = _sum(days, "pulls"), _sum(days, "failures")
    return [
        _stock(days, "images", "Images", words.number),
        _stock(days, "bytes", "Disk space", words.size),
        _counted(
            days,
            key="pulls",
            title="Pulls",
            figure=words.number(pulls),
            note=f"{span}, and {words.number(failures)} that failed",
            names=(("pulls", "Ended well"), ("failures", "Failed")),
        ),
        _counted(
            days,
            key="lookups",
            title="Lookups",
            figure=words.number(_sum(days, "lookups")),
            note=f"{span}; each job looks up its image once",
            names=(("lookups", "Lookups"),),
        ),
    ]


def edges(days: Sequence[Day]) -> tuple[str, str]:
    """The first and the last day, as they are written below a drawing."""
    return _shown(days[0]["day"]), _shown(days[-1]["day"])


def _stock(days: Sequence[Day], name: str, title: str, written: Callable[[float], str]) -> Chart:
    known = [(place, day[name]) for place, day in enumerate(days) if day[name] is not None]
    now = known[-1][1] if known else 0
    before = known[0][1] if known else 0
    peak = (round_size if name == "bytes" else round_number)(max((v for _, v in known), default=0))
    points = [(place * STEP + STEP / 2, _height(value, peak)) for place, value in known]
    line = " ".join(f"{x:g},{y:g}" for x, y in points)
    area = f"{points[0][0]:g},{HEIGHT} {line} {points[-1][0]:g},{HEIGHT}" if points else ""
    grown = now - before
    note = "counted since today" if known else "not counted yet"
    if len(known) > 1:
        first = _shown(days[known[0][0]]["day"])
        note = f"{written(abs(grown))} {'more' if grown >= 0 else 'less'} than on {first}"
    return Chart(
        key=name,
        title=title,
        figure=written(now),
        note=note,
        top=_short(written(peak)),
        middle=_short(written(peak / 2)),
        width=len(days) * STEP,
        series=(Series(name=title, kind="one", line=line, area=area),),
        days=tuple(
            (place * STEP, f"{_shown(day['day'])}: {_known(day[name], written)}")
            for place, day in enumerate(days)
        ),
    )


def _counted(
    days: Sequence[Day],
    *,
    key: str,
    title: str,
    figure: str,
    note: str,
    names: Sequence[tuple[str, str]],
) -> Chart:
    peak = round_number(max(sum(day[name] for name, _ in names) for day in days))
    below = [0.0] * len(days)  # what bars are stacked on
    series = []
    for (name, shown), kind in zip(names, ("one", "two"), strict=False):
        bars = []
        for place, day in enumerate(days):
            height = HEIGHT * day[name] / peak
            if height:
                y = HEIGHT - below[place] - height
                bars.append(
                    Bar(x=place * STEP + 1, y=round(y, 2), width=_BAR, height=round(height, 2))
                )
            below[place] += height
        series.append(Series(name=shown, kind=kind, bars=tuple(bars)))
    return Chart(
        key=key,
        title=title,
        figure=figure,
        note=note,
        top=words.number(peak),
        middle=words.number(peak / 2) if peak % 2 == 0 else "",
        width=len(days) * STEP,
        series=tuple(series),
        days=tuple(
            (place * STEP, f"{_shown(day['day'])}: {_counts(day, names)}")
            for place, day in enumerate(days)
        ),
    )


def round_number(value: float) -> float:
    """The next number that is easy to read; it is even, as far as half of it is written, too."""
    if value <= _FEW:
        return max(2, 2 * math.ceil(value / 2))
    power = 10.0 ** math.floor(math.log10(value))
    return next(factor * power for factor in _ROUND if factor * power >= value)


def round_size(value: float) -> float:
    """The same for bytes."""
    if value <= _LEAST_SIZE:
        return _LEAST_SIZE
    power = 10.0 ** math.floor(math.log10(value))
    return next(factor * power for factor in _ROUND_SIZES if factor * power >= value)


def _short(size: str) -> str:
    """A round size: there is nothing behind its point."""
    return size.replace(".0 ", " ")


def _height(value: float, peak: float) -> float:
    return round(HEIGHT - HEIGHT * value / peak, 2)


def _sum(days: Sequence[Day], name: str) -> int:
    return sum(day[name] for day in days)


def _shown(day: str) -> str:
    return date.fromisoformat(day).strftime("%-d %b %Y")


def _known(value: float | None, written: Callable[[float], str]) -> str:
    return "not counted" if value is None else written(value)


def _counts(day: Day, names: Sequence[tuple[str, str]]) -> str:
    return ", ".join(f"{shown.lower()} {words.number(day[name])}" for name, shown in names)
