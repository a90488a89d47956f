# SPDX-License-Identifier: BSD-3-Clause
"""The command: words in, an examination out, shown for people or programs."""

from __future__ import annotations

import os
import re
import shutil
import sys
import textwrap
from collections.abc import Callable

import click

from shifter_cli import output
from shifter_cli.doctor import PROGRAM, examination, launch
from shifter_cli.doctor.examination import Examination
from shifter_cli.doctor.findings import Level, Observation, count
from shifter_cli.session import Session

_COLOURS = {Level.OK: "green", Level.NOTE: "yellow", Level.PROBLEM: "red"}
_INDENT = 20  # of the text of a finding
_LONGEST_VALUE = 60
_ID = re.compile(r"\b([0-9a-f]{12})[0-9a-f]{52}\b")

_EXAMPLES = """\
\b
Examples:
  shifter doctor docker:ubuntu:24.04
  shifter doctor mympich --module=mpich         with the options of the launch
  shifter doctor ubuntu:24.04 --writable=2G --volume=$HOME/in:/data
  shifter doctor                                in a job: the image of the job
  shifter doctor ubuntu:24.04 --json | jq '.findings'

Exit status: 0 when a launch would work, 1 when there is a problem.

A program of that name in an image is run by: shifter --image=IMAGE doctor
"""


class Settings(Session):
    """One examination by one user."""

    is_watched = False  # whether steps are shown, on a line that is written over

    def complain(self, text: str) -> None:
        if self.is_watched:
            _say_step("")
        output.complain(text, PROGRAM)


@click.command(
    epilog=_EXAMPLES,
    context_settings={"ignore_unknown_options": True, "help_option_names": ["-h", "--help"]},
    options_metavar="[--json]",
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON for programs.")
@click.option("--verbose", is_flag=True, help="Show every step of a launch, and whole values.")
@click.argument("words", nargs=-1, type=click.UNPROCESSED, metavar="[IMAGE] [OPTION OF SHIFTER]...")
@click.pass_obj
def doctor(session: Settings, as_json: bool, verbose: bool, words: tuple[str, ...]) -> int:
    """Say whether IMAGE would start on this node, as you, and what is wrong if not.

    Looked at are the gateway, who may use the image, its file, the kernel, loop devices and memory
    of the node, which modules of the site fit the image's libraries, your variables and Python
    packages that reach into the container, and what would be mounted. A container is made with the
    options given, and left again; nothing else happens.
    """
    image = None
    if words and not words[0].startswith("-"):
        image, *rest = words
    else:
        rest = list(words)
    session.is_watched = show_step = not as_json and sys.stderr is not None and sys.stderr.isatty()
    found = examination.examine(
        session, launch.options_of(image, rest), _say_step if show_step else lambda _: None
    )
    if show_step:
        _say_step("")
    if as_json:
        output.show_json(found.to_json())
    else:
        _show(found, verbose=verbose)
    return int(found.problems > 0)


def _say_step(text: str) -> None:
    sys.stderr.write(f"\r\x1b[2K{text}")
    sys.stderr.flush()


def _show(found: Examination, *, verbose: bool) -> None:
    width = min(shutil.get_terminal_size().columns, 100)
    shown_as = (lambda text: text) if verbose else _short
    for finding in found.findings:
        click.echo(_finding(finding, width, shown_as))
    preview = found.preview
    if preview is not None:
        click.echo("\nMounted in the container:")
        shown = preview.operations if verbose else _mounts(preview)
        for _, text in shown:
            click.echo(_wrapped("  ", shown_as(output.printable(text)), width, "      "))
        click.echo("\nVariables of the program:")
        for name, (value, source) in sorted(found.sources.items(), key=lambda one: one[1][1]):
            value = shown_as(value)
            if not verbose and len(value) > _LONGEST_VALUE:
                value = f"{value[:_LONGEST_VALUE]}…"
            click.echo(output.printable(f"  {source:<12} {name}={value}"))
        for name in preview.unset_variables:
            click.echo(output.printable(f"  {'left out':<12} {name}"))
        click.echo(f"  {'yours':<12} {found.own_variables} more, as they are")
    notes = count(found.findings, Level.NOTE)
    name = shown_as(output.printable(found.reference))
    verdict = "would start" if not found.problems else "would not start"
    click.echo(f"\n{name} {verdict} here: problems: {found.problems}, notes: {notes}")


def _mounts(preview: launch.Preview) -> list[tuple[str, str]]:
    """Those operations that people know as mounts."""
    return [one for one in preview.operations if "mount" in one[1] or "bind" in one[1]]


def _short(text: str) -> str:
    """Ids cut down to what tells them apart."""
    return _ID.sub(r"\1…", text)


def _finding(finding: Observation, width: int, shown_as: Callable[[str], str]) -> str:
    word = _style(f"{finding.level.value:<8}", _COLOURS[finding.level])
    text = _wrapped(" " * _INDENT, shown_as(output.printable(finding.text)), width, " " * _INDENT)
    lines = [f"{word} {finding.subject:<10} {text[_INDENT:]}"]
    if finding.advice:
        advice = output.printable(f"→ {finding.advice}")
        lines.append(_wrapped(" " * _INDENT, advice, width, " " * (_INDENT + 2)))
    return "\n".join(lines)


def _wrapped(first: str, text: str, width: int, following: str) -> str:
    return "\n".join(
        textwrap.wrap(
            text, width, initial_indent=first, subsequent_indent=following,
            break_on_hyphens=False,
        )
    ) or first  # fmt: skip


def _style(text: str, colour: str) -> str:
    return text if os.environ.get("NO_COLOR") else click.style(text, fg=colour)
