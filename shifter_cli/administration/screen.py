# SPDX-License-Identifier: BSD-3-Clause
"""How `shifter-admin` writes for people: colours on a terminal only, in 80 columns."""

from __future__ import annotations

import os
import pwd
import sys
import textwrap
import time
from collections.abc import Sequence

import click

from shifter_cli import output

WIDTH = 80
_BAR = " ▁▂▃▄▅▆▇█"


def style(text: str, colour: str | None = None, *, bold: bool = False) -> str:
    return text if os.environ.get("NO_COLOR") else click.style(text, fg=colour, bold=bold or None)


def show(text: str, *, err: bool = False) -> None:
    """Colours are dropped where no terminal shows them."""
    click.echo(text, err=err)


def wrapped(text: str, indent: int) -> str:
    """A text in lines of which all but the first are indented, to follow `indent` columns."""
    lines = textwrap.wrap(
        output.printable(text), WIDTH - indent, break_long_words=False, break_on_hyphens=False
    )
    return ("\n" + " " * indent).join(lines)


def table(headings: Sequence[str], rows: Sequence[Sequence[str]], *, right: str = "") -> str:
    """Columns as wide as need be, the last as long as it is; `right`: a letter R for each that
    has numbers, which end at the same column."""
    cells = [[output.printable(cell) for cell in row] for row in (headings, *rows)]
    widths = [max(len(row[column]) for row in cells) for column in range(len(headings))]
    lines = []
    for row in cells:
        padded = [
            cell.rjust(width) if right[column : column + 1] == "R" else cell.ljust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        ]
        lines.append("  ".join(padded).rstrip())
    lines[0] = style(lines[0], bold=True)
    return "\n".join(lines)


def bars(values: Sequence[float | None]) -> str:
    """One character for each value, as high as it is; a dot where nobody knows it."""
    most = max((value for value in values if value is not None), default=0) or 1
    return "".join("·" if value is None else _bar(value / most) for value in values)


def _bar(part: float) -> str:
    # Whatever is more than nothing is seen.
    return _BAR[0] if part <= 0 else _BAR[max(1, round(part * (len(_BAR) - 1)))]


def counted(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def user(uid: int | None, name: str | None = None) -> str:
    if uid is None:
        return "unknown"
    if name:
        return name
    try:
        return pwd.getpwuid(uid).pw_name
    except (KeyError, OverflowError):
        return str(uid)


def day(seconds: float | None) -> str:
    return "-" if not seconds else time.strftime("%Y-%m-%d", time.localtime(seconds))


def age(seconds: float | None) -> str:
    if seconds is None:
        return "-"
    for unit, length in (("d", 86400), ("h", 3600), ("min", 60)):
        if seconds >= 2 * length:
            return f"{seconds // length:.0f} {unit}"
    return f"{max(seconds, 0):.0f} s"


def confirm(question: str, *, yes: bool) -> None:
    """Ask before something is changed; where nobody can be asked, it has to be said before."""
    if yes:
        return
    if sys.stdin is None or not sys.stdin.isatty():
        raise click.UsageError("there is nobody to ask: say --yes to have it done")
    click.confirm(question, abort=True, err=True)
