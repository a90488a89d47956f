# SPDX-License-Identifier: BSD-3-Clause
"""Completion of `shifter`, which the runtime's own table of options decides."""

from __future__ import annotations

from click.shell_completion import CompletionItem

from shifter_cli.completion import names
from shifter_cli.session import Session
from shifter_runtime import request as requests

_FILE = CompletionItem("", type="file")
_DOCTOR = "doctor"
_LONG = requests.LONG_OPTIONS | requests.ADDED_OPTIONS


def items(session: Session, before: list[str], word: str) -> list[CompletionItem[str]]:
    """What may stand in the place of `word`, after the words `before`."""
    if before[:1] == [_DOCTOR]:
        return _of_doctor(session, before[1:], word)
    position = 0
    while position < len(before):
        typed = before[position]
        if typed == "--" or not typed.startswith("-") or typed == "-":
            return [_FILE]  # the program, and its own words
        option, takes, attached = _understood(typed)
        if takes == requests.VALUE and not attached:
            if position + 1 == len(before):
                return _values(session, option, word)
            position += 1
        position += 1
    return _at_an_option(session, before, word)


def _at_an_option(session: Session, before: list[str], word: str) -> list[CompletionItem[str]]:
    option, _, attached = _understood(word)
    if attached and word.startswith("--"):
        return _values(session, option, word.partition("=")[2])
    if word.startswith("-"):
        return [CompletionItem(name) for name in _options() if name.startswith(word)]
    if not before and word and _DOCTOR.startswith(word):
        return [CompletionItem(_DOCTOR), _FILE]
    return [_FILE]


def _of_doctor(session: Session, before: list[str], word: str) -> list[CompletionItem[str]]:
    if not before and not word.startswith("-"):
        return names.of_images(session, word)
    found = items(session, [one for one in before if one.startswith("-")], word)
    return [item for item in found if item.type == "plain"]


def _understood(word: str) -> tuple[str, int, bool]:
    """The option that a word is, what it takes, and whether it has that already."""
    if word.startswith("--"):
        name, separator, _ = word[2:].partition("=")
        option, takes = _LONG.get(name, ("", requests.NO_VALUE))
        return option, takes, bool(separator)
    if word.startswith("-") and len(word) > 1:
        option, takes = requests.SHORT_OPTIONS.get(word[1], ("", requests.NO_VALUE))
        return option, takes, len(word) > 2
    return "", requests.NO_VALUE, False


def _options() -> list[str]:
    """Long options as they are typed, each by its first name; `=` where a value follows."""
    return sorted(
        f"--{name}{'=' if takes == requests.VALUE else ''}"
        for name, (option, takes) in _LONG.items()
        if option == name
    )


def _values(session: Session, option: str, word: str) -> list[CompletionItem[str]]:
    if option == "image":
        return names.of_images(session, word)
    if option == "module":
        return names.of_modules(session, word)
    if option in ("volume", "env-file"):
        return [_FILE]
    return []
