# SPDX-License-Identifier: BSD-3-Clause
"""Text of `key<delimiter>value` lines: udiRoot.conf (`=`) and image metadata (`:`).

A line whose first character is `#` is a comment. A line is split at its first delimiter; key and
value lose the white space around them. A value that ends in a backslash goes on in the next line,
which is joined to it by one space. Order and repetitions are kept: what they mean is the reader's.
"""

from __future__ import annotations

# What C's isspace() calls white space. Python's own idea of it, and of what ends a line, is wider.
WHITE_SPACE = " \t\n\v\f\r"


class Entry:
    """One logical line; `value` is None where the line has no delimiter."""

    __slots__ = ("key", "line", "value")

    def __init__(self, line: int, key: str, value: str | None) -> None:
        self.line = line  # number of its first physical line, from 1
        self.key = key
        self.value = value


def parse(text: str, delimiter: str) -> list[tuple[str, str]]:
    """The pairs of key and value in `text`; lines without a delimiter are left out."""
    return [
        (entry.key, entry.value) for entry in entries(text, delimiter) if entry.value is not None
    ]


def entries(text: str, delimiter: str, *, continued: bool = True) -> list[Entry]:
    """Every line of `text` that is neither blank nor a comment.

    With `continued` false, a backslash at the end of a line is a character like any other.
    """
    found: list[Entry] = []
    open_entry: Entry | None = None
    for number, line in enumerate(text.split("\n"), start=1):
        if line.startswith("#"):
            continue
        if open_entry is not None and open_entry.value is not None:
            rest, goes_on = _without_continuation(line.strip(WHITE_SPACE), continued)
            open_entry.value = f"{open_entry.value} {rest}".strip(WHITE_SPACE)
            open_entry = open_entry if goes_on else None
            continue
        key, separator, value = line.partition(delimiter)
        key = key.strip(WHITE_SPACE)
        if not separator:
            if key:
                found.append(Entry(number, key, None))
            continue
        value, goes_on = _without_continuation(value.strip(WHITE_SPACE), continued)
        entry = Entry(number, key, value)
        found.append(entry)
        open_entry = entry if goes_on else None
    return found


def _without_continuation(value: str, continued: bool) -> tuple[str, bool]:
    if continued and value.endswith("\\"):
        return value[:-1].rstrip(WHITE_SPACE), True
    return value, False
