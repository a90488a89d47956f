# SPDX-License-Identifier: BSD-3-Clause
"""What the launcher and the Slurm plugin can say, read from their source: strings with words."""

from __future__ import annotations

import re
from pathlib import Path

from tools.messages_in_python import HOLE, canonical, says_something

_LITERAL = r'"(?:[^"\\]|\\.)*"'
# A string, with those behind it that the compiler joins to it.
_STRING = re.compile(rf"{_LITERAL}(?:\s*(?:{_LITERAL}|PRI\w+))*")
_COMMENT = re.compile(r"/\*.*?\*/|^#(?:error|include).*?$", re.DOTALL | re.MULTILINE)
_DIRECTIVE = re.compile(r"%[-.*\d]*(?:l|ll|z|h)?[a-zA-Z]")
_SYSTEM_CALL = re.compile(r"\b(?:err|errx|warnx?)\([^;]*?(" + _LITERAL + ")")
# An option's help is in a table: in braces, beside its name.
_HELP = re.compile(r'\{"[\w.-]+", (?:"[^"]*"|NULL),\s*"[^"]*"')


def messages(root: Path, folders: tuple[str, ...]) -> dict[str, set[str]]:
    """Each text with holes, and where it is."""
    found: dict[str, set[str]] = {}
    for folder in folders:
        for path in sorted((root / folder).glob("*.c")):
            for line, text in _texts(path.read_text()):
                place = f"{path.relative_to(root).as_posix()}:{line}"
                found.setdefault(text, set()).add(place)
    return found


def _texts(source: str) -> list[tuple[int, str]]:
    for noise in (_COMMENT, _HELP):
        source = noise.sub(lambda match: re.sub(r"[^\n]", " ", match[0]), source)
    found = []
    for match in _STRING.finditer(source):
        parts = re.findall(_LITERAL, match[0])
        text = "".join(part[1:-1] for part in parts).replace('\\"', '"').replace("\\n", "\n")
        text = canonical(_DIRECTIVE.sub(HOLE, text))
        is_reported = any(text in canonical(m[1]) for m in _SYSTEM_CALL.finditer(source))
        if " " in text and (says_something(text) or is_reported):
            found.append((source.count("\n", 0, match.start()) + 1, text))
    return found
