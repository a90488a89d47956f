# SPDX-License-Identifier: BSD-3-Clause
"""Manual pages in man(7)'s language: sections, paragraphs, items, and text as it stands."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterable

_WIDTH = 76  # of the source's lines; what is read is filled anew
_CODE = re.compile(r"`([^`]+)`")


class Page:
    """A page in the making."""

    def __init__(self, name: str, section: int, summary: str, *, date: str, source: str) -> None:
        self._lines = [
            '.\\" written by tools/man_pages.py',
            f'.TH {_quoted(name)} {section} "{date}" {_quoted(source)} "Shifter"',
            ".ad l",  # a line that is one long word cannot be stretched to the margin
            ".SH NAME",
            f"{_escaped(name)} \\- {_escaped(summary)}",
        ]

    def section(self, title: str) -> None:
        self._lines.append(f".SH {_quoted(title.upper())}")

    def subsection(self, title: str) -> None:
        self._lines.append(f".SS {_quoted(title)}")

    def paragraph(self, text: str) -> None:
        """Text to be filled; what stands in backticks is bold."""
        if self._lines[-1].startswith((".SH", ".SS")):
            self._lines += _filled(text)
        else:
            self._lines += [".PP", *_filled(text)]

    def literal(self, lines: Iterable[str]) -> None:
        """Text whose lines stay as they are, such as commands."""
        shown = [_protected(_escaped(line)) for line in lines]
        between = [] if self._lines[-1].startswith((".SH", ".SS")) else [".PP"]
        self._lines += [*between, ".EX", *shown, ".EE"]

    def item(self, tag: str, text: str) -> None:
        """An option, key or file, and what it is."""
        self._lines += [".TP", f"\\fB{_escaped(tag)}\\fR", *_filled(text)]

    def text(self) -> str:
        return "".join(f"{line}\n" for line in self._lines)


def _filled(text: str) -> list[str]:
    words = " ".join(text.split())
    lines = textwrap.wrap(words, _WIDTH, break_long_words=False, break_on_hyphens=False)
    return [_protected(_bold(line)) for line in _with_whole_code(lines)] or ["\\&"]


def _with_whole_code(lines: list[str]) -> list[str]:
    """Lines of which none begins or ends within backticks."""
    whole: list[str] = []
    for line in lines:
        if whole and whole[-1].count("`") % 2:
            whole[-1] += f" {line}"
        else:
            whole.append(line)
    return whole


def _bold(text: str) -> str:
    parts = _CODE.split(text)
    return "".join(
        f"\\fB{_escaped(part)}\\fR" if index % 2 else _escaped(part)
        for index, part in enumerate(parts)
    )


def _escaped(text: str) -> str:
    """No character of it means anything to troff; every hyphen is one that can be typed."""
    return text.replace("\\", "\\e").replace("-", "\\-").replace("…", "...").replace("’", "'")


def _protected(line: str) -> str:
    """A line that begins as a request does is text all the same."""
    return f"\\&{line}" if line.startswith((".", "'")) else line


def _quoted(text: str) -> str:
    return '"' + _escaped(text).replace('"', "\\(dq") + '"'
