# SPDX-License-Identifier: BSD-3-Clause
"""What people and scripts read: the original's lines, and a livelier one on a terminal."""

from __future__ import annotations

import contextlib
import json
import pwd
import sys
import time
from collections.abc import Collection, Iterable, Sequence
from typing import TYPE_CHECKING, TextIO

from shifter_cli.errors import GatewayUnreachableError
from shifter_cli.gateway.records import LookupRow
from shifter_common.errors import ShifterError
from shifter_common.reference import ImageReference
from shifter_common.sizes import bytes_text as bytes_text

if TYPE_CHECKING:
    from shifter_cli.gateway.exchange import Answer

PULLING, IMPORTING = "Pulling", "Importing"


def lookup_line(row: LookupRow) -> str:
    return printable(
        f"{local_time(row.time)} {row.user:<10} {row.image_id[:10]:<10} {row.image_type}:{row.tag}"
    )


def pull_line(reference: ImageReference, state: str, now: float, doing: str = PULLING) -> str:
    """The line that scripts take the state from: its sixth word."""
    return printable(f"{local_time(now)} {doing} Image: {reference}, status: {state}")


def duration_text(seconds: float) -> str:
    if seconds < 100:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 100 * 60 else f"{seconds / 3600:.0f} h"


def show_json(value: object) -> None:
    say(json.dumps(value, separators=(",", ":")))


def show_answer(answer: Answer) -> None:
    """What a gateway answered, for `--verbose`."""
    if answer.status != 200:
        say(f"Got response: {answer.status}")
    say(f"Message: {printable(answer.text.rstrip())}")


def say_lines(lines: Sequence[str]) -> None:
    if lines:
        say("\n".join(lines))


def table(rows: Sequence[Sequence[str]], right: Collection[int] = ()) -> list[str]:
    """Columns as wide as their widest cell, `right` ones adjusted to the right; the last as is."""
    cells = [[printable(cell) for cell in row] for row in rows]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    lines = []
    for row in cells:
        padded = [
            cell.rjust(width) if index in right else cell.ljust(width)
            for index, (cell, width) in enumerate(zip(row, widths, strict=True))
        ]
        lines.append("  ".join([*padded[:-1], row[-1]]))
    return lines


def is_terminal(stream: TextIO | None) -> bool:
    return stream is not None and stream.isatty()


def say(text: str) -> None:
    print(text, flush=True)


def show_errors(errors: Iterable[ShifterError], program: str) -> None:
    """Each error once; the same silent gateway may have failed several images."""
    for text, error in {str(error): error for error in errors}.items():
        # The words that scripts know from the original.
        prefix = "ERROR" if isinstance(error, GatewayUnreachableError) else program
        complain(text, prefix)


def complain(text: str, prefix: str = "shifterimg") -> None:
    """Tell a person why; standard output is for scripts."""
    if sys.stderr is None:  # closed by the caller; print() would take standard output
        return
    lines = [f"{prefix}: {printable(line)}\n" for line in text.split("\n") if line]
    with contextlib.suppress(OSError):  # nobody listens
        print(*lines, sep="", end="", file=sys.stderr, flush=True)


def printable(text: str) -> str:
    """Text from elsewhere without what a terminal would obey."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else f"\\x{ord(c):02x}" for c in text)


def user_name(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except (KeyError, OverflowError):
        return str(uid)


def local_time(seconds: float) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.localtime(seconds))
