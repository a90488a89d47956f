# SPDX-License-Identifier: BSD-3-Clause
"""What may stand where the cursor is, told to a shell; a failure is silence."""

from __future__ import annotations

import dataclasses
import os
import sys

import click
from click.shell_completion import CompletionItem, ShellComplete, split_arg_string

from shifter_cli import output
from shifter_cli.completion import QUESTION
from shifter_cli.session import Session


@dataclasses.dataclass(frozen=True)
class _Typed:
    """The words before the cursor, and the one that is being typed."""

    before: list[str]
    word: str

    @property
    def option(self) -> str:
        """`--name=` of a word that is an option with a value."""
        name, separator, _ = self.word.partition("=")
        return name + separator if separator and name.startswith("-") else ""


def answer(program: click.Command, settings: object) -> None:
    """Print what may be typed; the question is in the environment."""
    shell, _, name = os.environ.get(QUESTION, "").partition(":")
    try:
        typed = _typed(os.environ.get("COMP_LINE", ""))
        items = _items(program, name, settings, typed)
        sys.stdout.write("".join(f"{line}\n" for line in _lines(shell, typed, items)))
        sys.stdout.flush()
    except Exception:  # nobody wants words in the middle of a line that is being typed
        pass


def _typed(line: str) -> _Typed:
    words = split_arg_string(line)
    is_begun = bool(line) and not line[-1:].isspace()
    return _Typed(words[1:-1] if is_begun else words[1:], words[-1] if is_begun and words else "")


def _items(
    program: click.Command, name: str, settings: object, typed: _Typed
) -> list[CompletionItem[str]]:
    if name == "shifter":
        from shifter_cli.completion import launches

        assert isinstance(settings, Session)
        return launches.items(settings, typed.before, typed.word)
    completer = ShellComplete(program, {"obj": settings}, name, QUESTION)
    return completer.get_completions(typed.before, typed.word)


def _lines(shell: str, typed: _Typed, items: list[CompletionItem[str]]) -> list[str]:
    cut = _cut(shell, typed.word)
    lines = []
    for item in items:
        if item.type in ("file", "dir"):
            lines.append("file:")
            continue
        word = item.value
        if typed.option and not word.startswith(typed.option):
            word = typed.option + word
        if output.printable(word) == word:
            lines.append(f"word:{word[cut:]}\t{item.help or ''}".rstrip())
    return lines


def _cut(shell: str, word: str) -> int:
    """How much of the word bash takes for words of their own, by $COMP_WORDBREAKS."""
    if shell != "bash":
        return 0
    breaks = set(os.environ.get("COMP_WORDBREAKS", "=:")) & set("=:@")
    return max((word.rfind(one) + 1 for one in breaks), default=0)
